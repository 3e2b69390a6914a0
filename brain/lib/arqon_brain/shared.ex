defmodule ArqonBrain.Shared do
  @moduledoc """
  What every Shield and every Brain holds alike: revocations and settings. One digest tells whether two differ.
  """

  alias ArqonBrain.{Digest, Revocations, Settings}
  alias ArqonBrain.Wire.{Message, Pages, Protobuf}

  @type t :: %__MODULE__{revocations: Revocations.t(), settings: Settings.t()}
  @typedoc "What a merge brought: revocations that are new, the settings if they are, how many were refused."
  @type news :: %{
          revoked: [Revocations.revocation()],
          settings: Settings.t() | nil,
          refused: non_neg_integer
        }

  defstruct revocations: %Revocations{}, settings: %{version: 0, rooms: [], policies: []}

  @doc "The same on all that hold the same. 0 if there is nothing."
  @spec digest(t) :: non_neg_integer
  def digest(shared), do: Digest.add(shared.revocations.sum, Settings.digest(shared.settings))

  @doc "Merges revocations and settings that have been checked."
  @spec merge(t, [Revocations.revocation()], Settings.t() | nil, non_neg_integer) :: {news, t}
  def merge(shared, revoked, settings, wall_ms) do
    later = Settings.later(shared.settings, settings || Settings.none())
    news = %{revoked: [], settings: if(later != shared.settings, do: later), refused: 0}

    {news, revocations} =
      Enum.reduce(revoked, {news, shared.revocations}, fn revocation, {news, set} ->
        case Revocations.add(set, revocation, wall_ms) do
          {true, set} -> {%{news | revoked: [revocation | news.revoked]}, set}
          {false, set} -> {news, set}
          {:full, set} -> {%{news | refused: news.refused + 1}, set}
        end
      end)

    news = %{news | revoked: :lists.reverse(news.revoked)}
    {news, %{shared | revocations: revocations, settings: later}}
  end

  @doc "Forgets what is over."
  @spec expire(t, non_neg_integer) :: t
  def expire(shared, wall_ms) do
    {_any, revocations} = Revocations.expire(shared.revocations, wall_ms)
    %{shared | revocations: revocations}
  end

  @doc "Everything as bodies of messages; the last one asks `pull` for all it has."
  @spec pages(t, binary) :: [{:shared, map}]
  def pages(shared, pull) do
    Pages.shared(pull, Revocations.list(shared.revocations), present(shared.settings))
  end

  @doc "What was new, as bodies of messages for others. None if there was nothing."
  @spec news_pages(news) :: [{:shared, map}]
  def news_pages(%{revoked: [], settings: nil}), do: []
  def news_pages(news), do: Pages.shared("", news.revoked, news.settings)

  @doc "Reads settings that were written down; `nil` if they cannot be read."
  @spec read_settings(binary) :: Settings.t() | nil
  def read_settings(bytes) do
    with {:ok, settings} <- Protobuf.decode(:settings, bytes),
         true <- Message.settings?(settings) do
      settings
    else
      _ -> nil
    end
  end

  defp present(%{version: 0}), do: nil
  defp present(settings), do: settings
end
