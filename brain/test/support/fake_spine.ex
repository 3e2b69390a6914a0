defmodule ArqonBrain.FakeSpine do
  @moduledoc "A spine that hands everything that is published to one process, decoded: `{:spine, subject, body}`."

  @behaviour ArqonBrain.Spine

  alias ArqonBrain.Wire.Protobuf

  @doc "From now on `pid` gets what is published."
  def start(pid) do
    :persistent_term.put(__MODULE__, pid)
    ArqonBrain.Spine.use_module(__MODULE__)
  end

  @impl true
  def publish(subject, payload) do
    payload = IO.iodata_to_binary(payload)
    true = byte_size(payload) <= 64 * 1024
    {:ok, %{body: body}} = Protobuf.decode(:control, payload)
    send(:persistent_term.get(__MODULE__), {:spine, subject, body, byte_size(payload)})
    :ok
  end
end
