defmodule ArqonBrain.Lifecycle do
  @moduledoc """
  When a room is created, idle and closed, as one Brain sees it.

  A room is alive while anybody is in it, tracked or not. Closing takes two steps, because the Brain may have lost a Shield
  with members: it announces the close under the room's generation and waits for somebody to refuse.
  """

  @type phase :: :active | {:idle, non_neg_integer} | {:closing, non_neg_integer}
  @type step :: :activated | :idled | :announce_close | :close
  @type t :: %__MODULE__{generation: non_neg_integer, phase: phase}

  @enforce_keys [:generation]
  defstruct [:generation, phase: :active]

  @doc "A room that has just been created. `generation` must be higher than that of any earlier life."
  @spec new(non_neg_integer) :: t
  def new(generation), do: %__MODULE__{generation: generation}

  @doc "A Shield refused a close: true if it meant this life, which then goes on."
  @spec refuse(t, non_neg_integer, non_neg_integer) :: {boolean, t}
  def refuse(
        %__MODULE__{generation: generation, phase: {:closing, _}} = life,
        generation,
        mono_ms
      ) do
    {true, %{life | phase: {:idle, mono_ms}}}
  end

  def refuse(life, _generation, _mono_ms), do: {false, life}

  @doc "Looks at the room. `idle_close` and `confirm` are in milliseconds."
  @spec step(t, boolean, non_neg_integer, non_neg_integer, non_neg_integer) :: {step | nil, t}
  def step(%__MODULE__{phase: phase} = life, occupied, idle_close, confirm, mono_ms) do
    case {phase, occupied} do
      {:active, true} ->
        {nil, life}

      {:active, false} ->
        {:idled, %{life | phase: {:idle, mono_ms}}}

      {_waiting, true} ->
        {:activated, %{life | phase: :active}}

      {{:idle, since}, false} when mono_ms >= since + idle_close ->
        {:announce_close, %{life | phase: {:closing, mono_ms}}}

      {{:closing, since}, false} when mono_ms >= since + confirm ->
        {:close, life}

      _ ->
        {nil, life}
    end
  end

  @doc "Its phase as a number of the protocol."
  @spec number(phase) :: 1..3
  def number(:active), do: 1
  def number({:idle, _}), do: 2
  def number({:closing, _}), do: 3
end
