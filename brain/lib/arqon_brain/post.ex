defmodule ArqonBrain.Post do
  @moduledoc "Sending control messages under the name of this Brain."

  alias ArqonBrain.Spine
  alias ArqonBrain.Wire.Message

  @doc "Sends one. What the spine cannot take is counted there and is lost: digests, the next beacon and operators repair it."
  @spec send(Message.sender(), binary, {atom, map}) :: :ok
  def send(sender, subject, body) do
    _lost = Spine.publish(subject, Message.encode(sender, body))
    :ok
  end
end
