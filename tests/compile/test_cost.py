"""What compiled programs do is counted: in the text of two devices, and in live ones of one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from invertavatar_jax.compile import cost, hlo

# jax.lax.scan over 5 steps of psum(x @ w) / 2 on a mesh of 1 x 2 CPU devices; w 8 x 8, x 4 x 8
TWO_DEVICES = (Path(__file__).parent / "two_devices.hlo.txt").read_text()


def compiled(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function).lower(*arguments).compile()


def counted(program) -> cost.Cost:
    return cost.count(hlo.parse(program.as_text()))


def test_collectives_in_a_loop_are_counted_each_time_they_run():
    found = cost.count(hlo.parse(TWO_DEVICES))
    assert dict(found.collectives) == {"all-reduce": 5}
    assert found.moved == 5 * 4 * 8 * 4
    assert found.flops == 5 * 2 * 4 * 8 * 8
    assert found.unknown_loops == 0


def test_a_loop_without_a_noted_length_is_read_from_its_condition():
    text = TWO_DEVICES.replace('"known_trip_count":{"n":"5"}', "")
    assert text != TWO_DEVICES
    assert dict(cost.count(hlo.parse(text)).collectives) == {"all-reduce": 5}


def test_a_loop_of_unknown_length_is_counted_once_and_said():
    text = TWO_DEVICES.replace('"known_trip_count":{"n":"5"}', "")
    found = cost.count(hlo.parse(text.replace("direction=LT", "direction=NE")))
    assert dict(found.collectives) == {"all-reduce": 1} and found.unknown_loops == 1


def test_a_program_counts_alike_before_it_is_compiled():
    def function(x, w):
        return lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, None, length=5)[0]

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((4, 8), (8, 8))]
    lowered = jax.jit(function).lower(*shapes)
    for text in lowered.as_text("hlo"), lowered.compile().as_text():
        assert cost.count(hlo.parse(text)).flops == 5 * 2 * 4 * 8 * 8


@pytest.mark.parametrize(
    ("line", "kind", "moved"),
    [
        ("f32[8,8]{1,0} all-gather(%x), dimensions={0}", "all-gather", 256),
        ("(f32[4,8]{1,0}, f32[8,8]{1,0}) all-gather-start(%x)", "all-gather", 256),
        ("(f32[4,8]{1,0}, f32[4,8]{1,0}) all-reduce-start(%x, %x)", "all-reduce", 256),
        ("f32[2,8]{1,0} reduce-scatter(%x), to_apply=%add", "reduce-scatter", 64),
        ("(f32[4,8], f32[4,8]) collective-permute-start(%x)", "collective-permute", 128),
    ],
)
def test_every_kind_of_collective_is_known(line, kind, moved):
    text = f"ENTRY %main (x: f32[4,8]) -> f32[] {{\n  %x = f32[4,8] parameter(0)\n  %y = {line}\n}}"
    found = cost.count(hlo.parse(text))
    assert dict(found.collectives) == {kind: 1} and found.moved == moved


def test_products_in_a_loop_count_for_each_step():
    def repeat(w, x):
        return lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, None, length=7)[0]

    assert counted(compiled(repeat, (32, 32), (16, 32))).flops == 7 * 2 * 16 * 32 * 32


@pytest.mark.parametrize(
    "settings",
    [
        dict(window_strides=(1, 1), padding=((1, 1), (1, 1))),
        dict(window_strides=(2, 2), padding=((0, 1), (2, 0))),
        dict(window_strides=(1, 1), padding=((2, 2), (2, 2)), lhs_dilation=(2, 2)),
        dict(window_strides=(1, 1), padding=((2, 2), (2, 2)), rhs_dilation=(2, 2)),
    ],
)
def test_products_of_convolutions_are_those_that_meet_pixels(settings):
    def convolve(image, kernel):
        return lax.conv_general_dilated(
            image, kernel, **settings, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    # by brute force: of an image of ones and a kernel of ones, the result's sum counts them
    ones = np.ones((2, 9, 9, 4), np.float32), np.ones((3, 3, 4, 8), np.float32)
    expected = 2 * float(np.asarray(convolve(*ones)).sum())
    assert counted(compiled(convolve, *(x.shape for x in ones))).flops == expected


def test_cudnn_and_cublas_calls_count_as_what_they_compute():
    text = """ENTRY %main (x: f32[2,16,16,4], k: f32[8,3,3,4], y: f32[2,16,16,8]) -> f32[] {
  %x = f32[2,16,16,4] parameter(0)
  %k = f32[8,3,3,4] parameter(1)
  %y = f32[2,16,16,8] parameter(2)
  %a = (f32[2,16,16,8], u8[0]) custom-call(%x, %k), WHERE="__cudnn$convForward"
  %b = (f32[2,16,16,4], u8[0]) custom-call(%y, %k), WHERE="__cudnn$convBackwardInput"
  %c = (f32[8,3,3,4], u8[0]) custom-call(%x, %y), WHERE="__cudnn$convBackwardFilter"
}"""
    labels = "window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, custom_call_target"
    found = cost.count(hlo.parse(text.replace("WHERE", labels)))
    once = 2 * 2 * (3 * 16 - 2) ** 2 * 4 * 8
    assert found.flops == 3 * once
    text = """ENTRY %main (x: f32[6,5], y: f32[5,7]) -> f32[] {
  %x = f32[6,5] parameter(0)
  %y = f32[5,7] parameter(1)
  %a = (f32[6,7], s8[4]) custom-call(%x, %y), custom_call_target="__cublas$gemm", """
    text += (
        'backend_config={"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}\n}'
    )
    assert cost.count(hlo.parse(text)).flops == 2 * 6 * 5 * 7


def test_a_loop_reads_slices_and_not_the_whole():
    def total(rows):
        return lax.scan(lambda x, row: (jnp.tanh(x + row), None), rows[0], rows)[0]

    found = counted(compiled(total, (256, 1024)))
    whole = 256 * 1024 * 4
    # each step reads a row and the sum, and writes the sum
    assert whole < found.bytes < 6 * whole


def test_what_stays_on_a_tpus_chip_is_not_memory():
    shape = hlo.Shape("f32", (8, 8), False)
    text = "ENTRY %m () -> f32[] {\n  %x = f32[8,8]{1,0:T(8,128)S(1)} iota(), iota_dimension=0\n}"
    assert shape.bytes == 256 and cost.count(hlo.parse(text)).bytes == 0


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="entry computation"):
        hlo.parse("HloModule empty\n")
