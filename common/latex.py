def write_latex(out, sections): pass
