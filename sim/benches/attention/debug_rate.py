from sim.benches.attention.attention_tile import *
del globals()["folded"], globals()["any_pages"]
from golden.kv.formats import Format
import itertools
PAGES=context.parameters().get("pages",32)

@cocotb.test()
async def rates(dut):
    domain = await reset(dut, cycle_limit=900_000)
    bench = Bench(domain, "free_running")
    for D,bits,N in itertools.product(context.parameters().get("Ds",(128,64)),context.parameters().get("bits",(2,4,8)),context.parameters().get("Ns",(1,4))):
        rng=np.random.default_rng(random.getrandbits(32))
        layouts=(PageLayout(Format("native",bits,"channel",32),"key",32,D,8,16),PageLayout(Format("native",bits,"token",32),"value",32,D,8,16))
        pairs=[]
        for _ in range(4):
            q=tuple(l.format.quantize((rng.standard_normal((32,D))).astype(np.float16)) for l in layouts)
            pairs.append(Pair(layouts,q,0,31))
        pairs=[pairs[i%4] for i in range(PAGES)]
        queries=(rng.standard_normal((N,D))).astype(np.float16)
        att=Attention(queries,pairs,False)
        words=sum(len(p.words(s)) for p in pairs for s in (0,1))
        macs=PAGES*2*N*(D*32//128)*{2:1,4:2,8:4}[bits]
        begin=domain.cycle
        for _ in range(3): bench.send(att)
        marks=[]
        for k in range(1,4):
            await bench.sinks["outputs"].wait_for(bench.wanted["outputs"]-(3-k)*N*D)
            marks.append(domain.cycle)
        print("RATE",D,bits,N,"words",words,"macs",macs,"cycles",[marks[0]-begin,marks[1]-marks[0],marks[2]-marks[1]],"ratio %.3f"%((marks[2]-marks[1])/max(words,macs)))
    await bench.finish()
