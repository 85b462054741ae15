"""Who follows, blocks and mutes whom, as plain sets: what user_svc has to agree with."""

from collections import Counter
from dataclasses import dataclass, field

Edge = tuple[str, str]


@dataclass
class GraphModel:
    """Edges go from the first person to the second; `follows` keeps the order of making."""

    follows: list[Edge] = field(default_factory=list)
    blocks: set[Edge] = field(default_factory=set)
    mutes: set[Edge] = field(default_factory=set)

    def act(self, verb: str, actor: str, target: str) -> bool:
        """Returns whether it is allowed; allowed acts take effect."""
        edge, back = (actor, target), (target, actor)
        match verb:
            case "Follow":
                if self.blocks & {edge, back}:
                    return False
                if edge not in self.follows:
                    self.follows.append(edge)
            case "Unfollow":
                self.follows = [each for each in self.follows if each != edge]
            case "Block":
                self.blocks.add(edge)
                self.follows = [each for each in self.follows if each not in {edge, back}]
            case "Unblock":
                self.blocks.discard(edge)
            case "Mute":
                self.mutes.add(edge)
            case "Unmute":
                self.mutes.discard(edge)
        return True

    def delete(self, person: str) -> None:
        self.follows = [edge for edge in self.follows if person not in edge]
        self.blocks = {edge for edge in self.blocks if person not in edge}
        self.mutes = {edge for edge in self.mutes if person not in edge}

    def followers(self, person: str) -> list[str]:
        """Newest first."""
        return [actor for actor, target in reversed(self.follows) if target == person]

    def followees(self, person: str) -> list[str]:
        """Newest first."""
        return [target for actor, target in reversed(self.follows) if actor == person]

    def blocked(self, person: str) -> list[str]:
        return [target for actor, target in self.blocks if actor == person]

    def blocked_by(self, person: str) -> list[str]:
        return [actor for actor, target in self.blocks if target == person]

    def muted(self, person: str) -> list[str]:
        return [target for actor, target in self.mutes if actor == person]

    def hidden(self, person: str) -> set[str]:
        return {*self.blocked(person), *self.blocked_by(person), *self.muted(person)}

    def relationship(self, viewer: str, other: str) -> dict[str, bool]:
        there, back = (viewer, other), (other, viewer)
        return {
            "is_following": there in self.follows,
            "is_followed_by": back in self.follows,
            "is_blocking": there in self.blocks,
            "is_blocked_by": back in self.blocks,
            "is_muting": there in self.mutes,
        }

    def suggestions(self, viewer: str) -> list[tuple[str, int]]:
        """Friends of friends, by how many friends follow them; of equals the newest first."""
        friends = self.followees(viewer)
        strangers = [target for actor, target in self.follows if actor in friends]
        unwanted = {viewer, *friends, *self.blocked(viewer), *self.muted(viewer)}
        unwanted.update(self.blocked_by(viewer))
        counts = Counter(each for each in strangers if each not in unwanted)
        return sorted(counts.items(), key=lambda each: (each[1], each[0]), reverse=True)
