"""The floor: settings, stores, people, words and the web frame. Imports none of ours."""
