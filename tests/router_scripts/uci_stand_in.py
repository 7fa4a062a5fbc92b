"""uci, as far as the scripts use it: files in UCI's own form, changes staged until they are committed.

It takes what `Router` says on its own command line: folders of the configuration and of what is staged. Kept
without imports that cost time: the scripts call it some hundred times.
"""

import os
import sys

Section = dict[str, str | list[str]]  # ".type", ".name" ("" for none), then options in order


class MissingError(Exception):
    """What was asked for is not there."""


def words_of(line: str) -> list[str]:
    words, word, quote, begun = [], "", "", False
    escaped = False
    for letter in line:
        if escaped:
            word, escaped = word + letter, False
        elif letter == "\\" and quote != "'":
            escaped = begun = True
        elif letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote, begun = letter, True
        elif not quote and letter == "#":
            break
        elif not quote and letter in " \t\n":
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word, begun = word + letter, True
    return [*words, word] if begun else words


def read(path: str) -> list[Section]:
    sections: list[Section] = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = words_of(line)
            if words[:1] == ["config"]:
                sections.append({".type": words[1], ".name": words[2] if words[2:] else ""})
            elif words[:1] == ["option"] and words[2]:  # the real one keeps no empty option either
                sections[-1][words[1]] = words[2]
            elif words[:1] == ["list"]:
                before = sections[-1].setdefault(words[1], [])
                sections[-1][words[1]] = [*([before] if isinstance(before, str) else before), words[2]]
    return sections


def quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def write(path: str, sections: list[Section]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for section in sections:
            name = f" {quoted(str(section['.name']))}" if section[".name"] else ""
            file.write(f"\nconfig {section['.type']}{name}\n")
            for key, value in options(section):
                form, texts = ("option", [value]) if isinstance(value, str) else ("list", value)
                file.writelines(f"\t{form} {key} {quoted(text)}\n" for text in texts)
        file.write("\n")


def options(section: Section) -> list[tuple[str, str | list[str]]]:
    return [(key, value) for key, value in section.items() if key[0] != "."]


def names(sections: list[Section]) -> list[str]:
    """What each section goes by: its name, or @type[number]."""
    seen: dict[str, int] = {}
    found = []
    for section in sections:
        kind = str(section[".type"])
        found.append(str(section[".name"]) or f"@{kind}[{seen.get(kind, 0)}]")
        seen[kind] = seen.get(kind, 0) + 1
    return found


class Package:
    def __init__(self, name: str, saved: str, staged: str) -> None:
        self.name, self.saved, self.staged = name, f"{saved}/{name}", f"{staged}/{name}"
        if not os.path.exists(self.saved):
            raise MissingError
        self.sections = read(self.staged if os.path.exists(self.staged) else self.saved)

    def section(self, name: str) -> Section:
        if name not in names(self.sections):
            raise MissingError
        return self.sections[names(self.sections).index(name)]

    def show(self, section: str, option: str, delimiter: str) -> None:
        if section:
            self.section(section)
        for name, each in zip(names(self.sections), self.sections, strict=True):
            if section not in ("", name):
                continue
            if option and option not in each:
                raise MissingError
            if not option:
                print(f"{self.name}.{name}={each['.type']}")
            for key, value in options(each):
                if option in ("", key):
                    texts = [value] if isinstance(value, str) else value
                    print(f"{self.name}.{name}.{key}={delimiter.join(quoted(text) for text in texts)}")

    def get(self, section: str, option: str) -> None:
        value = self.section(section).get(option or ".type")
        if value is None:
            raise MissingError
        print(value if isinstance(value, str) else " ".join(value))

    def set(self, section: str, option: str, value: str) -> None:
        if option:
            self.section(section)[option] = value
            if not value:
                del self.section(section)[option]
        elif section in names(self.sections):
            self.section(section)[".type"] = value
        else:
            self.sections.append({".type": value, ".name": section})

    def delete(self, section: str, option: str) -> None:
        found = self.section(section)
        if not option:
            self.sections.remove(found)
        elif found.pop(option, None) is None:
            raise MissingError

    def change_list(self, section: str, option: str, value: str, *, add: bool) -> None:
        found = self.section(section)
        before = found.get(option, [])
        values = [before] if isinstance(before, str) else before
        found[option] = [*values, value] if add else [each for each in values if each != value]
        if not found[option]:
            del found[option]

    def stage(self) -> None:
        write(self.staged, self.sections)

    def commit(self) -> None:
        if os.path.exists(self.staged):
            os.replace(self.staged, self.saved)

    def revert(self) -> None:
        if os.path.exists(self.staged):
            os.remove(self.staged)

    def changes(self) -> None:
        if os.path.exists(self.staged) and read(self.staged) != read(self.saved):
            print(f"{self.name}: changed")


class Uci:
    def __init__(self, saved: str, staged: str) -> None:
        self.saved, self.staged = saved, staged
        self.packages: dict[str, Package] = {}
        self.changed: set[str] = set()

    def package(self, name: str) -> Package:
        if name not in self.packages:
            self.packages[name] = Package(name, self.saved, self.staged)
        return self.packages[name]

    def do(self, verb: str, *rest: str, delimiter: str = " ") -> None:
        if verb == "commit" and not rest:
            for name in sorted(os.listdir(self.staged)):
                self.package(name).commit()
            return
        key, _, value = rest[0].partition("=")
        name, section, option, *_ = [*key.split(".", 2), "", ""]
        package = self.package(name)
        if verb == "show":
            package.show(section, option, delimiter)
        elif verb == "get":
            package.get(section, option)
        elif verb == "add":
            self.changed.add(name)
            package.sections.append({".type": rest[1], ".name": ""})
        elif verb in ("commit", "changes", "revert"):
            getattr(package, verb)()
        else:
            self.changed.add(name)
            self.change(package, verb, (section, option, value))

    def change(self, package: Package, verb: str, what: tuple[str, str, str]) -> None:
        if verb == "set":
            package.set(*what)
        elif verb == "delete":
            package.delete(*what[:2])
        elif verb in ("add_list", "del_list"):
            package.change_list(*what, add=verb == "add_list")
        else:
            raise MissingError

    def batch(self, lines: list[str]) -> None:
        for line in lines:
            try:
                self.do(*words_of(line))
            except MissingError:  # it goes on, and ends with 0 all the same
                print("uci: Entry not found", file=sys.stderr)

    def stage(self) -> None:
        for name in self.changed:
            self.packages[name].stage()


def main(saved: str, staged: str, *words: str) -> None:
    delimiter = " "
    arguments = list(words)
    while arguments[0] in ("-q", "-d"):
        delimiter = arguments.pop(1) if arguments[0] == "-d" else delimiter
        del arguments[0]
    uci = Uci(saved, staged)
    if arguments == ["batch"]:
        uci.batch(sys.stdin.read().splitlines())
    else:
        uci.do(*arguments, delimiter=delimiter)
    uci.stage()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except MissingError:
        sys.exit(1)
