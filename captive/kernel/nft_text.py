"""How nft writes what our tables are made of."""


def block(head: str, *lines: str) -> str:
    """A set or chain; empty *lines* are left out."""
    return f"\t{head} {{\n" + "".join(f"\t\t{line}\n" for line in lines if line) + "\t}\n"
