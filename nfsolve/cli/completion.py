"""``nfsolve completion``: scripts by which shells complete commands and the names of problems."""

from nfsolve._core.errors import InputError
from nfsolve._core.installed import problem_names
from nfsolve.cli.commands import COMMANDS

OF_PROBLEMS = ("run", "show", "analyze", "compare", "cite")  # commands that take the name of a problem
BASH = """\
_nfsolve() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$word"))
  elif [ "$COMP_CWORD" -eq 2 ]; then
    case "${{COMP_WORDS[1]}}" in
      {of_problems}) COMPREPLY=($(compgen -W "{problems}" -- "$word")) ;;
    esac
  fi
}}
complete -o default -F _nfsolve nfsolve
"""
FISH = """\
complete -c nfsolve -n __fish_use_subcommand -f -a "{commands}"
complete -c nfsolve -n "__fish_seen_subcommand_from {seen}" -a "{problems}"
"""
SCRIPTS = {"bash": BASH, "zsh": "autoload -U +X bashcompinit && bashcompinit\n" + BASH, "fish": FISH}


def completion_command(words: list[str]) -> int:
    """Print the script of a shell, for ``eval "$(nfsolve completion bash)"`` where the shell starts.

    Args:
        words: The name of the shell.

    Returns:
        Exit code 0.

    Raises:
        InputError: It is none of `SCRIPTS`.
    """
    if len(words) != 1 or words[0] not in SCRIPTS:
        raise InputError(
            f"completion needs the name of a shell, {', '.join(SCRIPTS)}, got '{' '.join(words)}'",
            do='write eval "$(nfsolve completion bash)" into ~/.bashrc',
        )
    parts = {
        "commands": " ".join(COMMANDS),
        "problems": " ".join(sorted(problem_names())),
        "of_problems": "|".join(OF_PROBLEMS),
        "seen": " ".join(OF_PROBLEMS),
    }
    print(SCRIPTS[words[0]].format(**parts), end="")
    return 0
