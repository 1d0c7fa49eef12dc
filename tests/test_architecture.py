"""The shape of the house that no linter of floors sees: files do not import each other in a circle."""

from graphlib import TopologicalSorter

import grimp


def test_no_file_imports_itself_through_others():
    graph = grimp.build_graph("nfsolve", "problems", exclude_type_checking_imports=True)  # imports in functions count
    files = graph.modules - {"nfsolve"}  # whose `main` starts the command line, which shows all of nfsolve
    imports = {file: graph.find_modules_directly_imported_by(file) & files for file in files}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the files
