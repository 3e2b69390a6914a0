defmodule ArqonBrain.Orders do
  @moduledoc """
  Operators' orders: sent to each Shield by itself, repeated until it answers, and told when done.
  """

  @attempts 5
  @retry_ms 1000
  @max 1024

  @type kind :: {:kick | :close_room | :drain, map}
  @type done :: {id :: pos_integer, reached :: [binary], unreached :: [binary]}
  @type t :: %__MODULE__{last: non_neg_integer, pending: %{optional(pos_integer) => map}}

  defstruct last: 0, pending: %{}

  @doc """
  None yet. `life` counts the starts of the process that holds them, from 0: Shields remember the ids of all its lives, and would
  take an order under one of those for carried out.
  """
  @spec new(non_neg_integer) :: t
  def new(life), do: %__MODULE__{last: Bitwise.bsl(life, 32)}

  @doc "Takes an order for these Shields; `:full` if too many are under way."
  @spec add(t, kind, [binary], non_neg_integer) :: {:ok, pos_integer, t} | :full
  def add(%__MODULE__{pending: pending}, _kind, _shields, _now) when map_size(pending) >= @max,
    do: :full

  def add(orders, kind, shields, now) do
    id = orders.last + 1
    order = %{kind: kind, waiting: MapSet.new(shields), reached: [], attempts: 0, retry_at: now}
    {:ok, id, %{orders | last: id, pending: Map.put(orders.pending, id, order)}}
  end

  @doc "A Shield has taken an order."
  @spec reply(t, binary, non_neg_integer) :: t
  def reply(orders, shield, id) do
    with %{^id => order} <- orders.pending, true <- MapSet.member?(order.waiting, shield) do
      order = %{
        order
        | waiting: MapSet.delete(order.waiting, shield),
          reached: [shield | order.reached]
      }

      %{orders | pending: Map.put(orders.pending, id, order)}
    else
      _ -> orders
    end
  end

  @doc "What is to be sent now, and what is over, in the order of their ids."
  @spec push(t, non_neg_integer) :: {[{shield :: binary, body :: {:order, map}}], [done], t}
  def push(%__MODULE__{pending: pending} = orders, _now) when pending == %{}, do: {[], [], orders}

  def push(orders, now) do
    {sends, done, pending} =
      Enum.reduce(Enum.sort(orders.pending), {[], [], orders.pending}, fn {id, order},
                                                                          {sends, done, pending} ->
        due = order.retry_at <= now

        cond do
          MapSet.size(order.waiting) == 0 or (due and order.attempts >= @attempts) ->
            result = {id, :lists.reverse(order.reached), Enum.sort(order.waiting)}
            {sends, [result | done], Map.delete(pending, id)}

          due ->
            again = %{order | attempts: order.attempts + 1, retry_at: now + @retry_ms}
            body = {:order, %{id: id, kind: order.kind}}
            sends = Enum.reduce(Enum.sort(order.waiting), sends, &[{&1, body} | &2])
            {sends, done, Map.put(pending, id, again)}

          true ->
            {sends, done, pending}
        end
      end)

    {:lists.reverse(sends), :lists.reverse(done), %{orders | pending: pending}}
  end

  @doc "When something is due; `nil` if nothing is under way."
  @spec next_timeout(t) :: non_neg_integer | nil
  def next_timeout(orders) do
    for {_, order} <- orders.pending, reduce: nil do
      next -> min(next, order.retry_at)
    end
  end
end
