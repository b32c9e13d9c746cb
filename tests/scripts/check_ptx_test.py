import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import check_ptx  # noqa: E402

# What nvcc wrote for the kernels, one line of each kind.
GOOD = """
.visible .entry add(
)
{
\t.reg .f32 \t%f<4>;
\tld.param.u64 \t%rd1, [add_param_0];
\t@%p1 bra \t$L__BB0_2;
\tadd.rn.f32 \t%f3, %f1, %f2;
\t@!%p2 mul.rn.f32 \t%f3, %f1, %f2;
\tfma.rn.f32 \t%f3, %f1, %f2, %f3;
\tdiv.rn.f32 \t%f3, %f1, %f2;
\tsqrt.rn.f32 \t%f3, %f1;
\tcvt.rn.f32.s32 \t%f3, %r1;
\tsetp.gt.f32 \t%p1, %f1, %f2;
\tdp4a.s32.s32 \t%r1, %r2, %r3, %r4;
\tmma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r1, %r2}, {%r3}, {%r4}, {%r1, %r2};
\tmma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%r1, %r2}, {%r3}, {%r4}, {%r1, %r2};
}
"""


class CheckPtx(unittest.TestCase):
    def test_what_the_flags_give_is_accepted(self):
        self.assertEqual(check_ptx.errors_of(GOOD), [])

    def test_each_way_to_lose_the_contract_is_named(self):
        for line, reason in (
                ("\tadd.f32 \t%f3, %f1, %f2;", "may be contracted"),
                ("\t@%p1 mul.f32 \t%f3, %f1, %f2;", "may be contracted"),
                ("\t@!%p1 sub.f32 \t%f3, %f1, %f2;", "may be contracted"),
                ("\tmul.rn.ftz.f32 \t%f3, %f1, %f2;", "flushes"),
                ("\tdiv.full.f32 \t%f3, %f1, %f2;", "approximates"),
                ("\tex2.approx.f32 \t%f3, %f1;", "approximates"),
                ("\tsetp.gt.ftz.f32 \t%p1, %f1, %f2;", "flushes"),
                ("\trcp.rn.f32 \t%f3, %f1;", "no IEEE operation"),
                ("\tfma.rn.f64 \t%d3, %d1, %d2, %d3;", "another type"),
                ("\tfma.rn.f16x2 \t%r3, %r1, %r2, %r3;", "another type")):
            errors = check_ptx.errors_of(GOOD + line + "\n")
            self.assertEqual(len(errors), 1, line)
            self.assertIn(reason, errors[0])

    def test_a_word_that_no_kernel_has_is_named(self):
        for word, instruction in check_ptx.WORDS.items():
            without = "\n".join(line for line in GOOD.splitlines() if instruction not in line)
            self.assertEqual(check_ptx.errors_of(without),
                             [f"no kernel has {instruction}, which {word} is compiled to"])


if __name__ == "__main__":
    unittest.main()
