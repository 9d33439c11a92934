"""The report: sections that the problems write (json and figures), and the page and LaTeX made of them.

    OUT/numbers/*.json         what was measured for a section, kept by numbers.py until runs, data or code change
    OUT/sections/*.json         one file a problem, written by p*/figures.py through Section
    OUT/figures/*.{png,pdf}     its figures; *.jpg: the images behind the points of a map, as one sheet
    OUT/shipped.json            the section of the weights in p*/weights/, written by hw_shipped.py for hw_report.py
    OUT/left_out.json           what was left out for want of data, written by hw_report.py
    OUT/commands.json           the command that repeats each section, written by hw_report.py
    OUT/results.json            every number of every section                 } written by
    OUT/index.html              one self-contained page, images inlined       } python3 -m common.report OUT
    OUT/report.tex, OUT/tex/    tables and figures for LaTeX, with --tex      }
"""
