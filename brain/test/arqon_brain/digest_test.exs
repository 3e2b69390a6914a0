defmodule ArqonBrain.DigestTest do
  use ExUnit.Case, async: true

  import Bitwise

  alias ArqonBrain.{Digest, Gen}

  test "the hashes are the published ones" do
    assert Digest.fnv("foobar") == 0x85944171F73967E8
    assert Digest.fnv("") == 0xCBF29CE484222325
    assert Digest.mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
  end

  test "the hash in halves is the hash in one" do
    Gen.check(300, fn ->
      bytes = Gen.bytes(0..40)

      whole =
        for <<byte <- bytes>>, reduce: 0xCBF29CE484222325 do
          hash -> bxor(hash, byte) * 0x100000001B3 &&& 0xFFFFFFFFFFFFFFFF
        end

      assert Digest.fnv(bytes) == whole
    end)
  end

  test "a room without anybody adds nothing, and sums can be taken back" do
    assert Digest.term("a.b", 0) == 0
    sum = Digest.add(Digest.term("a.b", 7), Digest.term("a.c", 8))
    assert Digest.add(sum, -Digest.term("a.b", 7)) == Digest.term("a.c", 8)
    assert Digest.invert(Digest.invert(5)) == 5
  end
end
