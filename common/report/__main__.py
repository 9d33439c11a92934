"""Puts the page together again, or compares two reports.   python3 -m common.report OUT"""
from common.cli import CommandParser, UsageError, any_path, format_table, one_line, run_command, say
from common.report.compare import compare_reports
from common.report.page import assemble


def main():
    parser = CommandParser(description="Assemble the report's page, index.html, from the sections drawn into a folder; or "
                                       "show in which numbers two reports differ.")
    parser.add_argument("out", type=any_path, nargs="?", metavar="OUT", help="folder that the figures were drawn into")
    parser.add_argument("--tex", action="store_true", help="write report.tex too: tables and figures to paste into a paper")
    parser.add_argument("--compare", type=any_path, nargs=2, metavar="OUT", help="the folders of two reports to compare")
    args = parser.parse_args()
    if (args.out is None) == (args.compare is None) or (args.tex and args.compare):
        raise UsageError("give either OUT, with or without --tex, or --compare OUT OUT")
    if args.out:
        assemble(args.out, args.tex)
        return
    rows, same = compare_reports(*args.compare)
    if rows:
        say(format_table(("", *(one_line(str(out)) for out in args.compare), "difference"), rows))
    say(f"{same} of {same + len(rows)} values are the same in both reports.")


if __name__ == "__main__":
    run_command(main)
