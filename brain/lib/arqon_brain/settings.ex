defmodule ArqonBrain.Settings do
  @moduledoc """
  How rooms are treated, beyond what each configuration says: one document of which the latest wins.

  The document is a message of `ArqonBrain.Wire.Schema`. Two of one version are ordered by a hash, so that all choose the same.
  """

  alias ArqonBrain.{Digest, Names}
  alias ArqonBrain.Wire.{Message, Protobuf}

  @typedoc "The settings as `ArqonBrain.Wire.Schema` has them."
  @type t :: %{version: non_neg_integer, rooms: [map], policies: [map]}

  @doc "The settings before any were set."
  @spec none() :: t
  def none, do: %{version: 0, rooms: [], policies: []}

  @doc "The later of two documents."
  @spec later(t, t) :: t
  def later(a, b), do: if(rank(b) > rank(a) and b.version > 0, do: b, else: a)

  @doc "The same on all that hold the same; 0 if none were ever set."
  @spec digest(t) :: non_neg_integer
  def digest(%{version: 0}), do: 0
  def digest(settings), do: Digest.mix(hash(settings))

  @doc "After how many milliseconds a room without anybody is closed; `default` if nothing else covers it."
  @spec idle_close_ms(t, binary, non_neg_integer) :: non_neg_integer
  def idle_close_ms(%{rooms: []}, _subject, default), do: default

  def idle_close_ms(%{rooms: rooms}, subject, default) do
    {tenant, room} = Names.split(subject)

    case Enum.find(rooms, &(&1.tenant in ["", tenant] and Names.covers?(&1.pattern, room))) do
      %{idle_close_ms: ms} when ms > 0 -> ms
      _ -> default
    end
  end

  @doc "Hash and size of every module that is named, those in force first, each once."
  @spec modules(t) :: [{binary, pos_integer}]
  def modules(%{policies: []}), do: []

  def modules(%{policies: policies}) do
    for at <- 0..(Message.releases_max() - 1),
        %{releases: releases} <- policies,
        release = Enum.at(releases, at),
        uniq: true,
        do: {release.module, release.size}
  end

  @doc "As bytes, to be written down."
  @spec encode(t) :: binary
  def encode(settings), do: IO.iodata_to_binary(Protobuf.encode(:settings, settings))

  defp rank(settings), do: {settings.version, hash(settings)}
  defp hash(settings), do: settings |> encode() |> Digest.fnv()
end
