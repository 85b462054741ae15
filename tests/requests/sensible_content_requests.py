"""For every rpc of content_svc a request that succeeds for whoever may call it.

`CONTENT_REQUESTS[rpc](stack, owner)` makes it, and whatever it needs: `owner` is whose post it is
about, or whose comment.
"""

from collections.abc import Awaitable, Callable

from google.protobuf.message import Message
from newsfeed.content.v1 import content_service_pb2 as pb

from tests.stacks.content_stack import ContentStack, packed
from tests.stacks.user_stack import Person

MakeRequest = Callable[[ContentStack, Person], Awaitable[Message]]


async def _create(_: ContentStack, __: Person) -> Message:
    return pb.CreatePostRequest(content="hello #world")


async def _delete_comment(stack: ContentStack, owner: Person) -> Message:
    """On another's post: so that it is for its author alone."""
    post = await (await stack.sign_up("stranger")).publish("about which people talk")
    comment = await stack.author(owner).comment(post)
    return pb.DeleteCommentRequest(post_id=post.post_id, comment_id=comment.comment_id)


def _about_post(make_request: Callable[[pb.Post], Message]) -> MakeRequest:
    async def make(stack: ContentStack, owner: Person) -> Message:
        return make_request(await stack.author(owner).publish("what this is about"))

    return make


def _about_owner(make_request: Callable[[Person], Message]) -> MakeRequest:
    async def make(_: ContentStack, owner: Person) -> Message:
        return make_request(owner)

    return make


CONTENT_REQUESTS: dict[str, MakeRequest] = {
    "ContentService.CreatePost": _create,
    "ContentService.GetPost": _about_post(lambda post: pb.GetPostRequest(post_id=post.post_id)),
    "ContentService.UpdatePost": _about_post(
        lambda post: pb.UpdatePostRequest(post_id=post.post_id, content="changed")
    ),
    "ContentService.DeletePost": _about_post(
        lambda post: pb.DeletePostRequest(post_id=post.post_id)
    ),
    "ContentService.ListPostsByAuthor": _about_owner(
        lambda owner: pb.ListPostsByAuthorRequest(user_id=owner.user_id)
    ),
    "ContentService.ListPostsByTag": _about_owner(lambda _: pb.ListPostsByTagRequest(tag="world")),
    "ContentService.SearchPosts": _about_owner(lambda _: pb.SearchPostsRequest(query="hello")),
    "ContentService.LikePost": _about_post(lambda post: pb.LikePostRequest(post_id=post.post_id)),
    "ContentService.UnlikePost": _about_post(
        lambda post: pb.UnlikePostRequest(post_id=post.post_id)
    ),
    "ContentService.ListLikes": _about_post(lambda post: pb.ListLikesRequest(post_id=post.post_id)),
    "ContentService.CreateComment": _about_post(
        lambda post: pb.CreateCommentRequest(post_id=post.post_id, content="well said")
    ),
    "ContentService.ListComments": _about_post(
        lambda post: pb.ListCommentsRequest(post_id=post.post_id)
    ),
    "ContentService.DeleteComment": _delete_comment,
    "ContentService.BatchGetPosts": _about_post(
        lambda post: pb.BatchGetPostsRequest(post_ids=packed([post]))
    ),
    "ContentService.ListPostsByAuthors": _about_owner(
        lambda owner: pb.ListPostsByAuthorsRequest(author_ids=owner.id_bytes, limit=20)
    ),
    "ContentService.BatchGetViewerState": _about_post(
        lambda post: pb.BatchGetViewerStateRequest(
            viewer_id=post.author_id, post_ids=packed([post])
        )
    ),
}
