"""Puts the page together again.   python3 -m common.report OUT"""
from pathlib import Path

from common.cli import CommandParser, run_command
from common.report.page import assemble


def main():
    parser = CommandParser(description="Assemble the report's page, index.html, from the sections drawn into a folder.")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder that the problems' figures were drawn into")
    parser.add_argument("--tex", action="store_true", help="write report.tex too: tables and figures to paste into a paper")
    args = parser.parse_args()
    assemble(args.out, args.tex)


if __name__ == "__main__":
    run_command(main)
