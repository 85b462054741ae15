"""ContentService: messages in, use case, messages out."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from newsfeed.content.v1 import content_service_pb2 as pb

from content_svc import model
from content_svc.comments import Comments
from content_svc.drafts import draft_of, merger_of
from content_svc.events import public_comment, public_post, timestamp_of_ms
from content_svc.likes import Likes
from content_svc.model import NEWEST, CommentId, Page, Place, Post, PostId, UserId
from content_svc.posts import Posts
from content_svc.texts import check_tag
from svckit.auth.tokens import Role
from svckit.context import calling_user_id, current_caller
from svckit.errors import InvalidArgument
from svckit.ids import unpack_ids
from svckit.page_tokens import PageTokens, page_size
from svckit.rpc.limits import MESSAGE_BYTES_MAX
from svckit.validation import Fields, normal_text


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for a page, read; and how to give it the next one."""

    tokens: PageTokens
    scope: Sequence[str]
    before: Place
    limit: int

    def next_token(self, place: Place | None) -> str:
        return "" if place is None else self.tokens.encode(self.scope, place)


class ContentServicer:
    """Posts and what people do with them."""

    def __init__(
        self,
        posts: Posts,
        comments: Comments,
        likes: Likes,
        page_tokens: PageTokens,
        media_base_url: str,
    ) -> None:
        self._posts = posts
        self._comments = comments
        self._likes = likes
        self._page_tokens = page_tokens
        self._media_base_url = media_base_url

    async def CreatePost(self, request: pb.CreatePostRequest) -> pb.CreatePostResponse:
        fields = Fields()
        draft = draft_of(fields, request.content, request.metadata, bool(self._media_base_url))
        fields.check()
        post_id = shared_post_id = None
        if request.HasField("post_id"):
            post_id = _post_id(request.post_id)
        if request.HasField("shared_post_id"):
            shared_post_id = _post_id(request.shared_post_id)
        post = await self._posts.create(calling_user(), post_id, draft, shared_post_id)
        return pb.CreatePostResponse(post=self._post(post))

    async def GetPost(self, request: pb.GetPostRequest) -> pb.GetPostResponse:
        post = await self._posts.get(_post_id(request.post_id))
        return pb.GetPostResponse(post=self._post(post))

    async def UpdatePost(self, request: pb.UpdatePostRequest) -> pb.UpdatePostResponse:
        fields = Fields()
        merge = merger_of(fields, request, bool(self._media_base_url))
        fields.check()
        post = await self._posts.update(calling_user(), _post_id(request.post_id), merge)
        return pb.UpdatePostResponse(post=self._post(post))

    async def DeletePost(self, request: pb.DeletePostRequest) -> pb.DeletePostResponse:
        post_id = _post_id(request.post_id)
        deleted_ms = await self._posts.delete(calling_user(), post_id, is_moderator=_is_moderator())
        return pb.DeletePostResponse(post_id=str(post_id), delete_time=timestamp_of_ms(deleted_ms))

    async def ListPostsByAuthor(
        self, request: pb.ListPostsByAuthorRequest
    ) -> pb.ListPostsByAuthorResponse:
        author_id = UserId(UUID(request.user_id))
        asked = self._asked(request, "ListPostsByAuthor", str(author_id))
        page = await self._posts.by_author(calling_user(), author_id, asked.before, asked.limit)
        posts, next_page_token = self._page(page, asked)
        return pb.ListPostsByAuthorResponse(posts=posts, next_page_token=next_page_token)

    async def ListPostsByTag(self, request: pb.ListPostsByTagRequest) -> pb.ListPostsByTagResponse:
        fields = Fields()
        tag = check_tag(fields, "tag", request.tag)
        fields.check()
        asked = self._asked(request, "ListPostsByTag", tag)
        page = await self._posts.by_tag(calling_user(), tag, asked.before, asked.limit)
        posts, next_page_token = self._page(page, asked)
        return pb.ListPostsByTagResponse(posts=posts, next_page_token=next_page_token)

    async def SearchPosts(self, request: pb.SearchPostsRequest) -> pb.SearchPostsResponse:
        asked = self._asked(request, "SearchPosts", request.query)
        page = await self._posts.search(calling_user(), request.query, asked.before, asked.limit)
        posts, next_page_token = self._page(page, asked)
        return pb.SearchPostsResponse(posts=posts, next_page_token=next_page_token)

    async def LikePost(self, request: pb.LikePostRequest) -> pb.LikePostResponse:
        post_id = _post_id(request.post_id)
        await self._likes.like(calling_user(), post_id)
        return pb.LikePostResponse(post_id=str(post_id), liked=True)

    async def UnlikePost(self, request: pb.UnlikePostRequest) -> pb.UnlikePostResponse:
        post_id = _post_id(request.post_id)
        await self._likes.unlike(calling_user(), post_id)
        return pb.UnlikePostResponse(post_id=str(post_id), liked=False)

    async def ListLikes(self, request: pb.ListLikesRequest) -> pb.ListLikesResponse:
        post_id = _post_id(request.post_id)
        asked = self._asked(request, "ListLikes", str(post_id))
        likes, place = await self._likes.of_post(calling_user(), post_id, asked.before, asked.limit)
        return pb.ListLikesResponse(
            likes=[
                pb.Like(user_id=str(like.user_id), create_time=timestamp_of_ms(like.create_time_ms))
                for like in likes
            ],
            next_page_token=asked.next_token(place),
        )

    async def CreateComment(self, request: pb.CreateCommentRequest) -> pb.CreateCommentResponse:
        post_id = _post_id(request.post_id)
        comment_id = None
        if request.HasField("comment_id"):
            comment_id = CommentId(UUID(request.comment_id))
        content = normal_text(request.content, multiline=True)
        comment = await self._comments.create(calling_user(), post_id, comment_id, content)
        return pb.CreateCommentResponse(comment=public_comment(comment))

    async def ListComments(self, request: pb.ListCommentsRequest) -> pb.ListCommentsResponse:
        post_id = _post_id(request.post_id)
        asked = self._asked(request, "ListComments", str(post_id))
        comments, place = await self._comments.of_post(
            calling_user(), post_id, asked.before, asked.limit
        )
        return pb.ListCommentsResponse(
            comments=map(public_comment, comments), next_page_token=asked.next_token(place)
        )

    async def DeleteComment(self, request: pb.DeleteCommentRequest) -> pb.DeleteCommentResponse:
        post_id = _post_id(request.post_id)
        comment_id = CommentId(UUID(request.comment_id))
        deleted_ms = await self._comments.delete(
            calling_user(), post_id, comment_id, is_moderator=_is_moderator()
        )
        return pb.DeleteCommentResponse(
            comment_id=str(comment_id), delete_time=timestamp_of_ms(deleted_ms)
        )

    async def BatchGetPosts(self, request: pb.BatchGetPostsRequest) -> bytes:
        """An encoded BatchGetPostsResponse: what is encoded already is only joined."""
        post_ids = unpack_ids(request.post_ids, "post_ids")
        posts = await self._posts.get_many(post_ids)
        response = b"".join(post.encoded for post in posts)
        if len(response) > MESSAGE_BYTES_MAX:
            described = "must be fewer: their posts do not fit into one answer"
            raise InvalidArgument.of("post_ids", described)
        return response

    async def ListPostsByAuthors(
        self, request: pb.ListPostsByAuthorsRequest
    ) -> pb.ListPostsByAuthorsResponse:
        before = NEWEST
        if request.HasField("before"):
            before = (request.before.create_time_ms, UUID(bytes=request.before.post_id))
        author_ids = unpack_ids(request.author_ids, "author_ids")
        found = await self._posts.references(author_ids, before, request.limit)
        return pb.ListPostsByAuthorsResponse(
            posts=[
                pb.PostReference(
                    post_id=each.post_id.bytes,
                    author_id=each.author_id.bytes,
                    create_time_ms=each.create_time_ms,
                )
                for each in found
            ]
        )

    async def BatchGetViewerState(
        self, request: pb.BatchGetViewerStateRequest
    ) -> pb.BatchGetViewerStateResponse:
        viewer_id = UserId(UUID(request.viewer_id))
        post_ids = unpack_ids(request.post_ids, "post_ids")
        states = await self._posts.viewer_states(viewer_id, post_ids)
        return pb.BatchGetViewerStateResponse(
            states=[pb.PostViewerState(liked=each.liked, shared=each.shared) for each in states]
        )

    def _post(self, post: Post) -> pb.Post:
        return public_post(post, self._media_base_url)

    def _page(self, page: Page[Post], asked: _Asked) -> tuple[list[pb.Post], str]:
        """As many as fit into an answer, and the token to go on after the last of them."""
        posts, place = page
        messages: list[pb.Post] = []
        room = model.PAGE_BYTES_MAX
        for post in posts:
            message = self._post(post)
            room -= message.ByteSize()
            if room < 0:
                break
            messages.append(message)
            last = (post.create_time_ms, post.post_id)
        return messages, asked.next_token(place if len(messages) == len(posts) else last)

    def _asked(
        self,
        request: "pb.ListPostsByAuthorRequest | pb.ListPostsByTagRequest | pb.SearchPostsRequest"
        " | pb.ListLikesRequest | pb.ListCommentsRequest",
        *listing: str,
    ) -> _Asked:
        size = page_size(request.page_size)
        scope = (*listing, str(calling_user()))
        before = self._page_tokens.position(request.page_token, scope, NEWEST)
        return _Asked(self._page_tokens, scope, before, size)


def batch_of_one(post: Post, media_base_url: str) -> bytes:
    """An answer of BatchGetPosts; joined, such answers are one with all their posts."""
    message = pb.BatchGetPostsResponse(posts=[public_post(post, media_base_url)])
    return message.SerializeToString()


def calling_user() -> UserId:
    return UserId(calling_user_id())


def _is_moderator() -> bool:
    return current_caller().role in {Role.MODERATOR, Role.ADMIN}


def _post_id(text: str) -> PostId:
    return PostId(UUID(text))
