import time, cProfile, pstats
from collections import Counter
def test_x(world):
    import importlib.util
    spec=importlib.util.spec_from_file_location("t","tests/api/test_access.py"); m=importlib.util.module_from_spec(spec); spec.loader.exec_module(m)
    print(len(m.DOCUMENTS), sum(len(d[0]) for d in m.DOCUMENTS))
    for c in ("UNMAPPED","UNLINKED","MEMBER","OWNER"):
        t=time.time()
        with world.statements() as ran: a=m.answers(world,c)
        print(c, time.time()-t, len(ran), sum(len(str(x)) for x in a))
    with cProfile.Profile() as p: m.answers(world,"OWNER")
    pstats.Stats(p).sort_stats("cumtime").print_stats(45)
