defmodule ArqonBrain.Names do
  @moduledoc """
  The grammar of names. A name that does not fit is refused, never normalised, so that two names never meet on one subject.
  """

  defguardp is_alnum(c) when c in ?0..?9 or c in ?A..?Z or c in ?a..?z
  defguardp is_token(c) when is_alnum(c) or c == ?_ or c == ?-

  @doc "A tenant, Shield or Brain: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`."
  @spec tenant?(binary) :: boolean
  def tenant?(<<first, rest::binary>>) when is_alnum(first),
    do: byte_size(rest) <= 63 and token_bytes?(rest)

  def tenant?(_name), do: false

  @doc "A room: 1 to 8 tokens of `[A-Za-z0-9_-]{1,64}` joined by `.`, 255 bytes at most."
  @spec room?(binary) :: boolean
  def room?(name) when byte_size(name) in 1..255, do: tokens?(name, 0, 1)
  def room?(_name), do: false

  @doc "The subject `<tenant>.<room>`."
  @spec subject?(binary) :: boolean
  def subject?(subject) do
    case split(subject) do
      {tenant, room} -> tenant?(tenant) and room?(room)
      nil -> false
    end
  end

  @doc "Tenant and room of a subject; `nil` if there is no dot in it."
  @spec split(binary) :: {binary, binary} | nil
  def split(subject) do
    case :binary.split(subject, ".") do
      [tenant, room] -> {tenant, room}
      [_only] -> nil
    end
  end

  @doc "A user: 1 to 128 bytes of UTF-8 without control characters."
  @spec user?(binary) :: boolean
  def user?(name) when byte_size(name) in 1..128, do: printable?(name)
  def user?(_name), do: false

  @doc "A pattern of rooms: exact tokens, `*` for one, a last `>` for one or more."
  @spec pattern?(binary) :: boolean
  def pattern?(pattern) do
    tokens = :binary.split(pattern, ".", [:global])
    last = length(tokens) - 1

    tokens
    |> Enum.with_index()
    |> Enum.all?(fn {token, i} ->
      token == "*" or (token == ">" and i == last) or (room?(token) and token != "")
    end)
  end

  @doc "Whether a pattern covers a room."
  @spec covers?(binary, binary) :: boolean
  def covers?(pattern, room) do
    covers_tokens?(:binary.split(pattern, ".", [:global]), :binary.split(room, ".", [:global]))
  end

  defp covers_tokens?([">"], [_ | _]), do: true
  defp covers_tokens?(["*" | pattern], [_ | room]), do: covers_tokens?(pattern, room)
  defp covers_tokens?([token | pattern], [token | room]), do: covers_tokens?(pattern, room)
  defp covers_tokens?([], []), do: true
  defp covers_tokens?(_pattern, _room), do: false

  defp token_bytes?(<<c, rest::binary>>) when is_token(c), do: token_bytes?(rest)
  defp token_bytes?(rest), do: rest == ""

  defp tokens?(<<c, rest::binary>>, len, count) when is_token(c) and len < 64,
    do: tokens?(rest, len + 1, count)

  defp tokens?(<<".", rest::binary>>, len, count) when len > 0 and count < 8,
    do: tokens?(rest, 0, count + 1)

  defp tokens?("", len, _count), do: len > 0
  defp tokens?(_rest, _len, _count), do: false

  # The control characters of Unicode are category Cc: C0, DEL and C1.
  defp printable?(<<c::utf8, rest::binary>>) when c >= 0x20 and c not in 0x7F..0x9F,
    do: printable?(rest)

  defp printable?(rest), do: rest == ""
end
