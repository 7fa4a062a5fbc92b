"""The twenty cases that other portals failed, each with tests seen to fail against a broken build.

`broken_builds` says for each case what its tests are and which one-line mistakes they must notice;
``python -m tests.security.broken`` (``make broken-builds``) makes those mistakes in a copy and looks.
"""
