"""Access tokens that must be refused, made as well as a forger with much luck could make them.

Each differs in one respect from `genuine`, a token that is accepted and speaks for an admin: so a
check that is missing lets exactly its forgeries in.
"""

import base64
import hmac
import json
from collections.abc import Callable
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from svckit.auth.keys import SigningKey, SigningKeys
from svckit.auth.tokens import AUDIENCE, ISSUER, service_of

REVOKED_SESSION_ID = UUID("0193dead-0000-7000-8000-00000000dead")
"""The test revokes this session before it offers the token "revoked session"."""

_USER_ID = UUID("0193aaaa-0000-7000-8000-00000000aaaa")
_SESSION_ID = UUID("0193bbbb-0000-7000-8000-00000000bbbb")
# The order of the curve's base point: s + order verifies too where nobody looks.
_GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493

Document = dict[str, object]
Sign = Callable[[bytes], bytes]


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def assemble(header: Document | bytes, claims: Document | bytes, sign: Sign) -> str:
    """Put a token together without any of the checks that a library makes."""
    parts = [part if isinstance(part, bytes) else _json(part) for part in (header, claims)]
    signed = ".".join(map(base64url, parts))
    return f"{signed}.{base64url(sign(signed.encode()))}"


def genuine(user_keys: SigningKeys, now: float, user_id: UUID = _USER_ID) -> str:
    """Make the token that all forgeries start from; without it accepted they prove nothing."""
    key = user_keys.signing_key()
    return assemble(_header(key), _user_claims(now, user_id), key.private.sign)


def genuine_service(service_keys: SigningKeys, now: float) -> str:
    key = service_keys.signing_key()
    return assemble(_header(key), _service_claims(now, service_of(key.kid)), key.private.sign)


def forgeries(
    user_keys: SigningKeys, service_keys: SigningKeys, now: float, user_id: UUID = _USER_ID
) -> dict[str, str]:
    """Return them by name. All can travel in a header: printable ASCII, no space at the ends."""
    user, service = user_keys.signing_key(), service_keys.signing_key()
    claims = _user_claims(now, user_id)
    return {
        **_wrong_algorithms(user, claims),
        **_wrong_headers(user, service, claims),
        **_wrong_claims(user, claims, now),
        **_wrong_raw_claims(user, claims),
        **_wrong_roles(user, service, claims, _service_claims(now, service_of(service.kid))),
        **_wrong_signatures(user, claims),
        **_wrong_shapes(user, claims),
    }


def _header(key: SigningKey) -> Document:
    return {"alg": "EdDSA", "kid": key.kid, "typ": "at+jwt"}


def _user_claims(now: float, user_id: UUID) -> Document:
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id),
        "iat": int(now),
        "exp": int(now) + 600,
        "jti": "0193cccc-0000-7000-8000-00000000cccc",
        "sid": str(_SESSION_ID),
        "role": "admin",
    }


def _service_claims(now: float, service_name: str) -> Document:
    claims = _user_claims(now, _USER_ID) | {"sub": service_name, "role": "service"}
    del claims["sid"]
    return claims


def _wrong_algorithms(key: SigningKey, claims: Document) -> dict[str, str]:
    public = key.public
    raw = public.public_bytes_raw()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secrets = {
        "raw": raw,
        "PEM": pem,
        "PEM stripped": pem.strip(),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "OpenSSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "JWK": _json(key.public_jwk()),
        "JWK x": key.public_jwk()["x"].encode(),
        "nothing": b"",
    }
    header = _header(key)
    forged = {
        f"HS256 with {name}": assemble(header | {"alg": "HS256"}, claims, _hmac(secret, "sha256"))
        for name, secret in secrets.items()
    }
    forged["HS512 with PEM"] = assemble(header | {"alg": "HS512"}, claims, _hmac(pem, "sha512"))
    for alg in ("none", "None", "NONE", "nOnE", ""):
        forged[f"alg {alg!r}, unsigned"] = assemble(header | {"alg": alg}, claims, _no_signature)
        forged[f"alg {alg!r}, signed"] = assemble(header | {"alg": alg}, claims, key.private.sign)
    for other in ("eddsa", "ES256", "RS256", "HS256", "Ed448", None, 0, ["EdDSA"]):
        forged[f"alg {other!r}"] = assemble(header | {"alg": other}, claims, key.private.sign)
    forged["alg missing"] = assemble(_without(header, "alg"), claims, key.private.sign)
    return forged


def _wrong_headers(key: SigningKey, service: SigningKey, claims: Document) -> dict[str, str]:
    own = Ed25519PrivateKey.generate()
    own_jwk = SigningKey(key.kid, own.public_key(), own).public_jwk()
    header = _header(key)
    changes: dict[str, Document] = {
        "kid unknown": {"kid": "unknown.20261120-00000000"},
        "kid empty": {"kid": ""},
        "kid null": {"kid": None},
        "kid number": {"kid": 1},
        "kid list": {"kid": [key.kid]},
        "kid object": {"kid": {"kid": key.kid}},
        "kid in capitals": {"kid": key.kid.upper()},
        "kid of a service": {"kid": service.kid},
        "kid as path": {"kid": f"../../keys/{key.kid}"},
        "kid as /dev/null": {"kid": "/dev/null"},
        "kid as SQL": {"kid": f"{key.kid}' OR '1'='1"},
        "kid with NUL": {"kid": f"{key.kid}\0"},
        "kid with space": {"kid": f"{key.kid} "},
        "kid long": {"kid": key.kid * 50},
        "crit unknown": {"crit": ["exp"]},
        "crit b64": {"crit": ["b64"], "b64": True},
        "crit empty": {"crit": []},
        "b64 false": {"b64": False, "crit": ["b64"]},
        "typ of a refresh token": {"typ": "rt+jwt"},
        "typ JWT": {"typ": "JWT"},
        "cty": {"cty": "JWT"},
        "zip": {"zip": "DEF"},
        "jku, own key": {"jku": "https://127.0.0.1:1/jwks.json"},
        "x5u, own key": {"x5u": "https://127.0.0.1:1/cert.pem"},
        "x5c, own key": {"x5c": ["MIIB"]},
        "jwk embedded, own key": {"jwk": own_jwk},
    }
    forged = {
        name: assemble(
            header | change, claims, own.sign if name.endswith("own key") else key.private.sign
        )
        for name, change in changes.items()
    }
    for name in ("jku", "x5u", "x5c", "jwk"):
        forged[f"{name}, right key"] = assemble(
            header | {name: own_jwk if name == "jwk" else "x"}, claims, key.private.sign
        )
    twice = _json(header)[:-1] + b',"kid":' + json.dumps(key.kid).encode() + b"}"
    other_first = _json(header)[:-1] + b',"alg":"EdDSA"}'
    return forged | {
        "kid missing": assemble(_without(header, "kid"), claims, key.private.sign),
        "kid missing, own jwk": assemble(
            _without(header, "kid") | {"jwk": own_jwk}, claims, own.sign
        ),
        "typ missing": assemble(_without(header, "typ"), claims, key.private.sign),
        "kid twice": assemble(twice, claims, key.private.sign),
        "alg twice": assemble(other_first, claims, key.private.sign),
        "header a list": assemble(b'["alg","EdDSA"]', claims, key.private.sign),
        "header no JSON": assemble(b"{alg:EdDSA}", claims, key.private.sign),
        "header in UTF-16": assemble(json.dumps(header).encode("utf-16"), claims, key.private.sign),
        "header nested": assemble(b"[" * 2500, claims, key.private.sign),
    }


def _wrong_claims(key: SigningKey, claims: Document, now: float) -> dict[str, str]:
    at = int(now)
    changes: dict[str, Document] = {
        "issuer wrong": {"iss": "https://example.com"},
        "issuer empty": {"iss": ""},
        "issuer list": {"iss": [ISSUER]},
        "issuer in capitals": {"iss": ISSUER.upper()},
        "issuer longer": {"iss": f"{ISSUER}.example.com"},
        "audience wrong": {"aud": "elsewhere"},
        "audience empty": {"aud": ""},
        "audience empty list": {"aud": []},
        "audience list": {"aud": ["elsewhere", AUDIENCE]},
        "audience only list": {"aud": [AUDIENCE]},
        "audience object": {"aud": {AUDIENCE: True}},
        "audience shorter": {"aud": AUDIENCE[:-1]},
        "expired": {"iat": at - 600, "exp": at - 1},
        "expired this second": {"iat": at - 600, "exp": at},
        "exp as text": {"exp": str(at + 600)},
        "exp fractional": {"exp": at + 600.5},
        "exp true": {"exp": True},
        "exp list": {"exp": [at + 600]},
        "exp negative": {"iat": -(10**12), "exp": 600 - 10**12},
        "exp huge": {"exp": 10**300},
        "exp before iat": {"iat": at + 20, "exp": at + 10},
        "iat as text": {"iat": str(at)},
        "iat huge": {"iat": 10**300, "exp": 10**300 + 600},
        "iat in the future": {"iat": at + 60, "exp": at + 660},
        "nbf in the future": {"nbf": at + 60},
        "nbf as text": {"nbf": "0"},
        "lifetime too long": {"exp": at + 3601},
        "lifetime too long, old": {"iat": 1, "exp": at + 600},
        "sub not a UUID": {"sub": "admin"},
        "sub a UUID in braces": {"sub": f"{{{claims['sub']}}}"},
        "sub a UUID as URN": {"sub": f"urn:uuid:{claims['sub']}"},
        "sub without hyphens": {"sub": str(claims["sub"]).replace("-", "")},
        "sub number": {"sub": 1},
        "sub list": {"sub": [claims["sub"]]},
        "sid not a UUID": {"sid": "session"},
        "sid number": {"sid": 7},
        "jti number": {"jti": 7},
        "jti empty": {"jti": ""},
        "role unknown": {"role": "root"},
        "role in capitals": {"role": "ADMIN"},
        "role empty": {"role": ""},
        "role list": {"role": ["admin"]},
        "role number": {"role": 3},
        "revoked session": {"sid": str(REVOKED_SESSION_ID)},
    }
    forged = {
        name: assemble(_header(key), claims | change, key.private.sign)
        for name, change in changes.items()
    }
    for name in claims:
        forged[f"{name} missing"] = assemble(_header(key), _without(claims, name), key.private.sign)
        forged[f"{name} null"] = assemble(_header(key), claims | {name: None}, key.private.sign)
    return forged


def _wrong_raw_claims(key: SigningKey, claims: Document) -> dict[str, str]:
    without_exp = _json(_without(claims, "exp"))[:-1]
    raw = {
        "exp NaN": without_exp + b',"exp":NaN}',
        "exp Infinity": without_exp + b',"exp":Infinity}',
        "exp 1e400": without_exp + b',"exp":1e400}',
        "exp with 2,000 digits": without_exp + b',"exp":' + b"9" * 2000 + b"}",
        "role twice": _json(claims | {"role": "user"})[:-1] + b',"role":"admin"}',
        "claims a list": b"[" + _json(claims) + b"]",
        "claims a text": b'"admin"',
        "claims null": b"null",
        "claims empty": b"{}",
        "claims no JSON": b"role=admin",
        "claims no UTF-8": _json(claims)[:-1] + b',"x":"\xff"}',
        "claims in UTF-16": json.dumps(claims).encode("utf-16"),
        "claims nested": b"[" * 2500,
    }
    return {name: assemble(_header(key), body, key.private.sign) for name, body in raw.items()}


def _wrong_roles(
    user: SigningKey, service: SigningKey, claims: Document, service_claims: Document
) -> dict[str, str]:
    """Tokens of one kind of key that say what only the other kind may say."""
    name = service_of(service.kid)
    by_user = {
        "service by a key for people": claims | {"role": "service"},
        "service's name by a key for people": claims | {"role": "service", "sub": name},
        "service token by a key for people": service_claims,
    }
    by_service = {
        **{
            f"{role} by a service's key": claims | {"role": role}
            for role in ("user", "moderator", "admin")
        },
        "admin with a service's name": claims | {"sub": name},
        "another service's name": service_claims | {"sub": f"not_{name}"},
        "a service's name, longer": service_claims | {"sub": f"{name}x"},
        "a service's key id as its name": service_claims | {"sub": service.kid},
        "a service without a name": service_claims | {"sub": ""},
        "a person as a service": service_claims | {"sub": claims["sub"]},
    }
    return {
        **{
            name: assemble(_header(user), body, user.private.sign) for name, body in by_user.items()
        },
        **{
            name: assemble(_header(service), body, service.private.sign)
            for name, body in by_service.items()
        },
    }


def _wrong_signatures(key: SigningKey, claims: Document) -> dict[str, str]:
    token = _with_url_signs(key, claims)
    signed, _, signature = token.rpartition(".")
    header, _, _ = signed.partition(".")
    harmless = assemble(_header(key), claims | {"role": "user"}, key.private.sign)
    stranger = Ed25519PrivateKey.generate()
    data = base64.urlsafe_b64decode(signature + "==")
    return {
        "signed by a stranger": assemble(_header(key), claims, stranger.sign),
        "changed after signing": (
            f"{header}.{base64url(_json(claims))}.{harmless.rpartition('.')[2]}"
        ),
        "signature empty": f"{signed}.",
        "signature cut": f"{signed}.{signature[:-4]}",
        "signature of 63 bytes": f"{signed}.{base64url(data[:-1])}",
        "signature of 65 bytes": f"{signed}.{base64url(data + bytes(1))}",
        "signature zero": f"{signed}.{base64url(bytes(64))}",
        "signature one bit off": f"{signed}.{base64url(bytes([data[0] ^ 1]) + data[1:])}",
        "signature halves swapped": f"{signed}.{base64url(data[32:] + data[:32])}",
        "signature malleated": f"{signed}.{base64url(_malleated(data))}",
        "signature's last bits changed": f"{signed}.{_other_last_bits(signature)}",
        "signature padded": f"{token}==",
        "signature in plain base64": f"{signed}.{base64.b64encode(data).decode()}",
        "signature in hexadecimal": f"{signed}.{data.hex()}",
    }


def _wrong_shapes(key: SigningKey, claims: Document) -> dict[str, str]:
    token = assemble(_header(key), claims, key.private.sign)
    header, body, signature = token.split(".")
    padded = assemble(_header(key), claims | {"padding": "x" * 3000}, key.private.sign)
    as_json = {"protected": header, "payload": body, "signature": signature}
    return {
        "nothing but dots": "..",
        "a word": "admin",
        "no signature": f"{header}.{body}",
        "only a header": header,
        "four parts": f"{token}.{signature}",
        "five parts, like a JWE": f"{header}.{body}.{body}.{body}.{signature}",
        "dots doubled": token.replace(".", ".."),
        "dot at the end": f"{token}.",
        "dot in front": f".{token}",
        "space inside": f"{header}. {body}.{signature}",
        "two tokens": f"{token},{token}",
        "prefix twice": f"Bearer {token}",
        "quoted": f'"{token}"',
        "percent-encoded": token.replace(".", "%2E"),
        "as JSON": _json(as_json).decode(),
        "header padded": f"{header}=.{body}.{signature}",
        "header's last bits changed": _respelled(_json(_header(key)), body, key.private.sign),
        "longer than 4 KiB": padded,
    }


def _with_url_signs(key: SigningKey, claims: Document) -> str:
    """A token whose signature looks otherwise in plain base64; now and then one does not."""
    for number in range(1_000):
        token = assemble(_header(key), claims | {"jti": f"token-{number}"}, key.private.sign)
        if not token.rpartition(".")[2].isalnum():
            return token
    raise AssertionError("no signature of a thousand has a - or _")


def _malleated(signature: bytes) -> bytes:
    scalar = int.from_bytes(signature[32:], "little") + _GROUP_ORDER
    return signature[:32] + scalar.to_bytes(32, "little")


def _other_last_bits(encoded: str) -> str:
    """Spell the same bytes otherwise: base64 has bits at the end that carry nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return encoded[:-1] + alphabet[alphabet.index(encoded[-1]) ^ 1]


def _respelled(header: bytes, body: str, sign: Sign) -> str:
    spaces = b" " * ((1 - len(header)) % 3)  # so that the encoded header ends in spare bits
    signed = f"{_other_last_bits(base64url(header + spaces))}.{body}"
    return f"{signed}.{base64url(sign(signed.encode()))}"


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _without(document: Document, name: str) -> Document:
    return {key: value for key, value in document.items() if key != name}


def _hmac(secret: bytes, digest: str) -> Sign:
    return lambda signed: hmac.digest(secret, signed, digest)


def _no_signature(_: bytes) -> bytes:
    return b""
