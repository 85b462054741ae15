"""Callers as a program other than user_svc knows them: by keys and ended sessions of user_svc.

One task each keeps them fresh; a call is then verified from memory alone.
"""

from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from newsfeed.user.v1 import user_service_pb2 as pb
from newsfeed.user.v1.user_service_pb2_grpc import AuthServiceStub

from svckit.auth.keys import JwkSet, StaticKeys
from svckit.auth.remote_keys import RemoteKeys
from svckit.auth.revocations import Revocation, Revocations, RevocationSettings
from svckit.auth.tokens import TokenVerifier
from svckit.rpc.client import ServiceChannel
from svckit.times import timestamp

USER_SVC = "user_svc"


class Identity:
    """`verifier` is for the server; it knows nobody until the `background` tasks run."""

    def __init__(
        self,
        user_svc: ServiceChannel,
        service_keys_file: Path,
        revocations: RevocationSettings | None = None,
    ) -> None:
        self._auth = user_svc.stub(AuthServiceStub)
        self._keys = RemoteKeys(self._fetch_keys, USER_SVC)
        self.revocations = Revocations(self._fetch_revocations, settings=revocations)
        self.verifier = TokenVerifier(self._keys, StaticKeys(service_keys_file), self.revocations)

    def background(self) -> list[Coroutine[None, None, None]]:
        return [self._keys.run(), self.revocations.run()]

    async def _fetch_keys(self) -> JwkSet:
        response = await self._auth.GetJwks(pb.GetJwksRequest())
        return {
            "keys": [
                {"kty": key.kty, "crv": key.crv, "x": key.x, "kid": key.kid}
                for key in response.keys
            ]
        }

    async def _fetch_revocations(self, since: datetime | None) -> Sequence[Revocation]:
        request = pb.ListRevocationsRequest(since_time=None if since is None else timestamp(since))
        response = await self._auth.ListRevocations(request)
        return [
            Revocation(UUID(each.session_id), each.revoke_time.ToDatetime(UTC))
            for each in response.revocations
        ]
