"""Objects in circles, which only the garbage collector can free, beside many that live."""


class Node:
    def __init__(self) -> None:
        self.itself = self
        self.values = [[] for _ in range(10)]


def build(count: int) -> list[Node]:
    return [Node() for _ in range(count)]


def main() -> None:
    kept = build(150_000)
    for _ in range(40):
        build(20_000)
    print(len(kept))


main()
