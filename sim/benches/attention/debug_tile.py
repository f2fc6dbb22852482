from sim.benches.attention.attention_tile import *
import sim.benches.attention.attention_tile as A
del globals()["folded"], globals()["any_pages"]

@cocotb.test()
async def each(dut):
    domain = await reset(dut, cycle_limit=400_000)
    bench = Bench(domain, "free_running")
    bad=[]
    places=context.parameters().get("places")
    for k in range(LISTS):
        att = random_attention(random.randint(1, context.parameters()["n"]), random.randint(1, context.parameters()["len"]), places)
        try:
            bench.send(att)
            await bench.finish()
            ok=True
        except AssertionError as e:
            ok=str(e)[:300]
        desc=[(len(att.queries), att.queries.shape[1])]+[tuple((l.format.rule,l.format.bits,l.format.axis,l.format.group) for l in p.layouts)+((p.first,p.last),) for p in att.pairs]
        print("CASE", ok is True, desc, att.scores)
        if ok is not True:
            print(ok)
            break

@cocotb.test()
async def why(dut):
    domain = await reset(dut, cycle_limit=400_000)
    bench = Bench(domain, "free_running")
    got=[]
    bench.sinks["outputs"]._observer=lambda bits: got.append(bench.sinks["outputs"].codec.unpack(bits)["half"])
    from golden.attention import widths
    for k in range(6):
        att = random_attention(1, 2, ("channel","token"))
        att=Attention(att.queries,att.pairs,False)
        got.clear()
        bench.send(att)
        for name,sink in bench.sinks.items(): await sink.wait_for(bench.wanted[name])
        bench.boards["outputs"]=Scoreboard("outputs",OUTPUTS["outputs"])
        query=fold(att.queries); kt,vt=att.tops
        def run(f):
            state=engine.start(*att.queries.shape,vt); ms=[]
            for i,pair in enumerate(att.pairs):
                keys,values=(page.read(l.format,q) for l,q in zip(pair.layouts,pair.quantized))
                old=state
                new,_=engine.step(state,query,keys,values,CONFIG.numerics,kt,pair.first,pair.last)
                ms.append((int(new.maximum[0]),int(new.maximum[0]-old.maximum[0])))
                state=f(i,old,new)
            return engine.finish(state,query).values.view(np.uint16)[0].tolist(),ms
        g=list(got)
        full,ms=run(lambda i,o,n:n)
        from golden.attention.rounding import shifted
        noshift,_=run(lambda i,o,n:n if i==0 else n._replace(sums=n.sums-shifted(o.sums,(n.maximum-o.maximum)[:,None])+o.sums))
        first,_=run(lambda i,o,n:n if i==0 else n._replace(sums=shifted(o.sums,(n.maximum-o.maximum)[:,None])))
        second,_=run(lambda i,o,n:n if i==0 else n._replace(sums=n.sums-shifted(o.sums,(n.maximum-o.maximum)[:,None])))
        desc=[tuple((l.format.rule,l.format.bits,l.format.axis,l.format.group) for l in p.layouts)+((p.first,p.last),) for p in att.pairs]
        print("CASE",g==full,"noshift",sum(a==b for a,b in zip(g,noshift)),"first",sum(a==b for a,b in zip(g,first)),"second",sum(a==b for a,b in zip(g,second)),"full",sum(a==b for a,b in zip(g,full)),len(full),ms,desc)

@cocotb.test()
@cocotb.parametrize(turn=range(8))
async def many(dut, turn):
    domain = await reset(dut, cycle_limit=400_000)
    bench = Bench(domain, "free_running")
    starts=[]; count=0
    for k in range(LISTS):
        att=random_attention(random.randint(1, CONFIG.kv.queries), random.randint(1, 4), ("channel", "token"))
        bench.send(att)
        starts.append((count,att)); count+=att.queries.size
    board=bench.boards["outputs"]; 
    got=[]
    bench.sinks["outputs"]._observer=lambda bits: got.append(bits)
    expected=list(board._expected) if hasattr(board,"_expected") else None
    await bench.sinks["outputs"].wait_for(bench.wanted["outputs"])
    board._expected.clear()
    for n,(s,att) in enumerate(starts):
        N,D=att.queries.shape
        bad=[(q,c) for q in range(N) for c in range(D) if got[s+q*D+c]!=expected[s+q*D+c][0]]
        if bad:
            query=fold(att.queries); kt,vt=att.tops
            state=engine.start(N,D,vt); ms=[]
            for pair in att.pairs:
                keys,values=(page.read(l.format,q) for l,q in zip(pair.layouts,pair.quantized))
                new,_=engine.step(state,query,keys,values,CONFIG.numerics,kt,pair.first,pair.last)
                ms.append((new.maximum-state.maximum).tolist()); state=new
            desc=[tuple((l.format.rule,l.format.bits,l.format.group) for l in p.layouts)+((p.first,p.last),) for p in att.pairs]
            print("CASE",n,(N,D),"bad",bad[:3],len(bad),sorted(set(q for q,c in bad)),"moves",ms,desc)
