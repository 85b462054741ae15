"""The published contract as a table: for each rpc who may call it, and under which HTTP routes.

Written by hand from the documented contract, not derived from the protos: the tests compare both.
"""

RPCS: dict[str, dict[str, tuple[str, ...]]] = {
    "newsfeed.user.v1.AuthService": {
        "SignUp": ("PUBLIC", "POST /v1/auth/signup"),
        "LogIn": ("PUBLIC", "POST /v1/auth/login"),
        "RefreshTokens": ("PUBLIC", "POST /v1/auth/refresh"),
        "LogOut": ("USER", "POST /v1/auth/logout"),
        "ChangePassword": ("USER", "POST /v1/auth/password"),
        "GetJwks": ("PUBLIC", "GET /.well-known/jwks.json"),
        "ListRevocations": ("SERVICE",),
    },
    "newsfeed.user.v1.UserService": {
        "GetUser": ("USER", "GET /v1/users/{user_id}", "GET /v1/users:byUsername/{username}"),
        "GetMe": ("USER", "GET /v1/me"),
        "UpdateMe": ("USER", "PATCH /v1/me"),
        "DeleteUser": ("USER", "DELETE /v1/users/{user_id}"),
        "SearchUsers": ("USER", "GET /v1/users:search"),
        "ListUsers": ("ADMIN", "GET /v1/admin/users"),
        "SetRole": ("ADMIN", "PUT /v1/admin/users/{user_id}/role"),
        "BatchGetUsers": ("SERVICE",),
    },
    "newsfeed.user.v1.GraphService": {
        "FollowUser": ("USER", "PUT /v1/users/{user_id}/follow"),
        "UnfollowUser": ("USER", "DELETE /v1/users/{user_id}/follow"),
        "BlockUser": ("USER", "PUT /v1/users/{user_id}/block"),
        "UnblockUser": ("USER", "DELETE /v1/users/{user_id}/block"),
        "MuteUser": ("USER", "PUT /v1/users/{user_id}/mute"),
        "UnmuteUser": ("USER", "DELETE /v1/users/{user_id}/mute"),
        "GetRelationship": ("USER", "GET /v1/users/{user_id}/relationship"),
        "ListFollowers": ("USER", "GET /v1/users/{user_id}/followers"),
        "ListFollowing": ("USER", "GET /v1/users/{user_id}/following"),
        "ListBlocks": ("USER", "GET /v1/me/blocks"),
        "ListMutes": ("USER", "GET /v1/me/mutes"),
        "SuggestUsers": ("USER", "GET /v1/me/suggestions"),
        "StreamFollowerIds": ("SERVICE",),
        "ListFolloweeIds": ("SERVICE",),
        "BatchGetRelationships": ("SERVICE",),
        "BatchGetHiddenIds": ("SERVICE",),
        "GetViewerGraph": ("SERVICE",),
    },
    "newsfeed.content.v1.ContentService": {
        "CreatePost": ("USER", "POST /v1/posts", "POST /v1/post"),
        "GetPost": ("PUBLIC", "GET /v1/posts/{post_id}"),
        "UpdatePost": ("USER", "PATCH /v1/posts/{post_id}"),
        "DeletePost": ("USER", "DELETE /v1/posts/{post_id}"),
        "ListPostsByAuthor": ("USER", "GET /v1/users/{user_id}/posts"),
        "ListPostsByTag": ("USER", "GET /v1/tags/{tag}/posts"),
        "SearchPosts": ("USER", "GET /v1/posts:search"),
        "LikePost": ("USER", "PUT /v1/posts/{post_id}/like"),
        "UnlikePost": ("USER", "DELETE /v1/posts/{post_id}/like"),
        "ListLikes": ("USER", "GET /v1/posts/{post_id}/likes"),
        "CreateComment": ("USER", "POST /v1/posts/{post_id}/comments"),
        "ListComments": ("USER", "GET /v1/posts/{post_id}/comments"),
        "DeleteComment": ("USER", "DELETE /v1/posts/{post_id}/comments/{comment_id}"),
        "BatchGetPosts": ("SERVICE",),
        "ListPostsByAuthors": ("SERVICE",),
        "BatchGetViewerState": ("SERVICE",),
    },
    "newsfeed.feed.v1.FeedService": {
        "ListHomeFeed": ("USER", "GET /v1/feed"),
        "ListActivities": ("USER", "GET /v1/activity"),
        "ListNotifications": ("USER", "GET /v1/notifications"),
        "MarkNotificationsRead": ("USER", "POST /v1/notifications:markRead"),
        "WatchHomeFeed": ("USER", "GET /v1/feed/live"),
        "RebuildFeed": ("ADMIN", "POST /v1/admin/feeds/{user_id}:rebuild"),
        "EvictFeed": ("ADMIN", "POST /v1/admin/feeds/{user_id}:evict"),
        "GetFeedInfo": ("ADMIN", "GET /v1/admin/feeds/{user_id}"),
        "PrewarmFeeds": ("ADMIN", "POST /v1/admin/feeds:prewarm"),
    },
    "newsfeed.analytics.v1.AnalyticsService": {
        "RecordEvents": ("USER", "POST /v1/events"),
        "GetPostEngagement": ("USER", "GET /v1/posts/{post_id}/engagement"),
        "GetUserEngagement": ("USER", "GET /v1/users/{user_id}/engagement"),
        "ListTrendingPosts": ("USER", "GET /v1/trending/posts"),
        "ListTrendingTags": ("USER", "GET /v1/trending/tags"),
        "QueryActivityLog": ("ADMIN", "GET /v1/admin/activity"),
        "GetActiveUsers": ("ADMIN", "GET /v1/admin/active-users"),
        "BatchGetEngagement": ("SERVICE",),
        "ListActivities": ("SERVICE",),
    },
}

STREAMING = {"StreamFollowerIds", "WatchHomeFeed"}

# Beside PUT, DELETE and PATCH, these may be sent again after a lost answer.
REPEATABLE_POSTS = {
    "LogOut",
    "RecordEvents",
    "MarkNotificationsRead",
    "RebuildFeed",
    "EvictFeed",
    "PrewarmFeeds",
}
