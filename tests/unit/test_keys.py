import json
import logging
import os
import subprocess
import sys

import pytest

from svckit.auth.keys import (
    KeyFileError,
    SigningKeys,
    StaticKeys,
    ensure_key_file,
    make_key,
    parse_public_set,
    public_set,
    write_public_set,
)
from svckit.keys import main
from tests.clock import ManualClock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


def kids(path):
    return [key["kid"] for key in json.loads(path.read_text())["keys"]]


def change(path, **fields):
    """Write the file again with other fields in its first key; None takes a field out."""
    document = json.loads(path.read_text())
    first = document["keys"][0] | fields
    document["keys"][0] = {name: value for name, value in first.items() if value is not None}
    path.write_text(json.dumps(document))


def test_a_new_file_is_private_and_holds_one_key(path):
    ensure_key_file(path, "feed_svc.")
    assert path.stat().st_mode & 0o777 == 0o600
    (kid,) = kids(path)
    assert kid.startswith("feed_svc.20")
    assert SigningKeys(path).signing_key().kid == kid
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]


def test_an_existing_file_is_kept(path):
    ensure_key_file(path, "a.")
    before = path.read_bytes()
    ensure_key_file(path, "a.")
    assert main(["new", str(path)]) == 1
    assert path.read_bytes() == before


def test_the_public_set_holds_no_private_part(path, tmp_path):
    ensure_key_file(path, "a.")
    other, out = tmp_path / "other.json", tmp_path / "public.json"
    ensure_key_file(other, "b.")
    write_public_set([path, other], out)
    public = json.loads(out.read_text())["keys"]
    assert [key["kid"] for key in public] == kids(path) + kids(other)
    assert all(set(key) == {"kty", "crv", "x", "kid", "use", "alg"} for key in public)
    assert out.stat().st_mode & 0o777 == 0o644
    assert public_set(SigningKeys(path).keys().values())["keys"] == public[:1]


async def test_public_keys_verify_what_the_private_one_signs(path, tmp_path):
    ensure_key_file(path, "a.")
    write_public_set([path], tmp_path / "public.json")
    signing = SigningKeys(path)
    key = signing.signing_key()
    for source in (signing, StaticKeys(tmp_path / "public.json")):
        found = await source.find(key.kid)
        assert found is not None
        found.verify(key.private.sign(b"x"), b"x")
        assert await source.find("another") is None


async def test_rotation_by_command(path, capsys):
    clock = ManualClock()
    assert main(["new", str(path), "--kid", "feed_svc.old"]) == 0
    keys = SigningKeys(path, clock)

    assert main(["add", str(path)]) == 0
    clock.now_s += 1
    old, new = kids(path)
    assert new.startswith("feed_svc.20")  # a service's key stays a service's key
    assert keys.signing_key().kid == old == "feed_svc.old"
    assert await keys.find(new)

    assert main(["remove", str(path), old]) == 1
    assert "promote another" in capsys.readouterr().err
    assert main(["promote", str(path), new]) == 0
    clock.now_s += 1
    assert keys.signing_key().kid == new
    assert await keys.find(old)

    assert main(["remove", str(path), old]) == 0
    clock.now_s += 1
    assert await keys.find(old) is None
    assert keys.signing_key().kid == new
    assert path.stat().st_mode & 0o777 == 0o600


def test_promoting_keeps_every_key(path):
    main(["new", str(path), "--kid", "a"])
    for kid in ("b", "c"):
        main(["add", str(path), "--kid", kid])
    assert kids(path) == ["a", "b", "c"]
    main(["promote", str(path), "c"])
    assert kids(path) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "FILE", "--kid", "a"], "there is a key a already"),
        (["promote", "FILE", "x"], "no key x, only a"),
        (["remove", "FILE", "x"], "no key x, only a"),
        (["add", "FILE", "--kid", "../a"], "a key id"),
        (["new", "FILE"], "is there already"),
        (["new", "FILE/nowhere/keys.json"], "directory"),
        (["add", "MISSING"], "No such file"),
        (["public", "FILE", "FILE"], "earlier file"),
    ],
)
def test_a_command_that_cannot_be_done_says_so_in_one_line(path, capsys, arguments, message):
    main(["new", str(path), "--kid", "a"])
    before = path.read_bytes()
    names = {"FILE": str(path), "MISSING": f"{path}.missing"}
    spoken = [argument.replace("MISSING", names["MISSING"]) for argument in arguments]
    spoken = [argument.replace("FILE", names["FILE"]) for argument in spoken]
    assert main(spoken) == 1
    output = capsys.readouterr()
    assert not output.out
    assert output.err.count("\n") == 1
    assert str(path) in output.err or "key id" in output.err
    assert message in output.err
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]


def test_the_program_prints_public_keys_and_help(path):
    def run(*arguments):
        command = [sys.executable, "-m", "svckit.keys", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    run("new", str(path))
    printed = json.loads(run("public", str(path)))
    assert printed == public_set(SigningKeys(path).keys().values())
    assert "promote" in run("--help")
    assert "Default" in run("new", "--help")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kty": "RSA"}, "not Ed25519"),
        ({"crv": "Ed448"}, "not Ed25519"),
        ({"crv": "X25519"}, "not Ed25519"),
        ({"d": None}, "has no d"),
        ({"x": None}, "has no x"),
        ({"d": 1}, "has no d"),
        ({"x": "AAAA"}, "32 bytes"),
        ({"x": "A" * 44}, "32 bytes"),
        ({"x": "ä" * 43}, "32 bytes"),
        ({"d": "A" * 43}, "do not belong together"),
        ({"kid": None}, "key id"),
        ({"kid": ""}, "key id"),
        ({"kid": "../x"}, "key id"),
        ({"kid": "x" * 65}, "key id"),
        ({"kid": ["a"]}, "key id"),
    ],
)
def test_a_doubtful_key_is_refused(path, fields, message):
    ensure_key_file(path, "a.")
    change(path, **fields)
    with pytest.raises(KeyFileError, match=message) as caught:
        SigningKeys(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JWK set"),
        ("{}", "not a JWK set"),
        ('{"keys": {}}', "not a JWK set"),
        ('{"keys": [1]}', "not a JWK set"),
        ('{"keys": []}', "no key"),
    ],
)
def test_a_file_that_is_no_set_is_refused(path, text, message):
    path.write_text(text, "latin-1")
    with pytest.raises(KeyFileError, match=message):
        StaticKeys(path)


def test_a_missing_file_is_refused(path):
    with pytest.raises(KeyFileError, match=r"keys\.json: No such file"):
        SigningKeys(path)


def test_a_key_id_that_stands_there_twice_is_refused(path):
    path.write_text(
        json.dumps({"keys": [make_key("a").private_jwk(), make_key("a").private_jwk()]})
    )
    with pytest.raises(KeyFileError, match="key id a stands there twice"):
        SigningKeys(path)


def test_a_private_key_is_no_public_one(path):
    """A program that is given another's private file must not run on as if all were well."""
    ensure_key_file(path, "a.")
    with pytest.raises(KeyFileError, match="private"):
        StaticKeys(path)
    with pytest.raises(KeyFileError, match="private"):
        parse_public_set(json.loads(path.read_text()))


def test_a_private_key_does_not_show_in_text(path):
    ensure_key_file(path, "a.")
    key = SigningKeys(path).signing_key()
    assert key.private_jwk()["d"] not in repr(key)


async def test_a_bad_change_leaves_the_old_keys_in_force_and_is_logged_once(path, caplog):
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    ensure_key_file(path, "a.")
    keys = SigningKeys(path, clock)
    kid = keys.signing_key().kid
    good = path.read_bytes()

    for bad in (b"{", None):
        if bad is None:
            path.unlink()
        else:
            path.write_bytes(bad)
        for _ in range(3):
            clock.now_s += 1
            assert await keys.find(kid)
    assert [record.message for record in caplog.records] == ["key_file_unusable"] * 2

    path.write_bytes(good)
    clock.now_s += 1
    assert keys.signing_key().kid == kid
    assert caplog.records[-1].message == "key_file_reloaded"


def test_the_file_is_looked_at_once_a_second_at_most(path):
    clock = ManualClock()
    main(["new", str(path), "--kid", "a"])
    keys = SigningKeys(path, clock)
    main(["add", str(path), "--kid", "b"])
    clock.now_s += 0.9
    assert [*keys.keys()] == ["a"]
    clock.now_s += 0.1
    assert [*keys.keys()] == ["a", "b"]


def test_a_file_of_the_same_size_and_time_is_seen_as_changed(path):
    """Tools that copy times must not hide a rotation."""
    clock = ManualClock()
    main(["new", str(path), "--kid", "a"])
    keys = SigningKeys(path, clock)
    stat = path.stat()
    other = path.with_name("other.json")
    main(["new", str(other), "--kid", "b"])
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    clock.now_s += 1
    assert keys.signing_key().kid == "b"


def test_of_several_that_ensure_a_file_at_once_one_wins(path):
    script = f"from svckit.auth.keys import *; ensure_key_file(Path({str(path)!r}), 'a.')"
    makers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [maker.wait(20) for maker in makers] == [0, 0, 0]
    assert len(kids(path)) == 1
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]
