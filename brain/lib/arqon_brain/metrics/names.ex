defmodule ArqonBrain.Metrics.Names do
  @moduledoc """
  Every metric of the Brain: its name without `arqon_brain_`, its kind and what it counts.

  Labels have few values that the Brain itself chooses; rooms and users never are labels.
  """

  @names [
    config_reloads_total: {:counter, "Reloads of the configuration, by result."},
    control_ignored_total: {:counter, "Control messages that were ignored, by reason."},
    control_messages_total: {:counter, "Control messages that were decoded, by kind."},
    control_shed_total:
      {:counter, "Messages between processes dropped because one had too much to do, by kind."},
    http_refused_total:
      {:counter, "Requests on the admin port that were not answered, by reason."},
    mailbox_messages_max: {:gauge, "Messages that wait for the busiest process."},
    memory_bytes: {:gauge, "Memory of the virtual machine, by kind."},
    orders_total: {:counter, "Orders, by kind and result."},
    processes: {:gauge, "Processes of the virtual machine."},
    rooms: {:gauge, "Rooms this Brain knows."},
    run_queue: {:gauge, "Processes that wait for a processor."},
    sessions: {:gauge, "Tracked sessions this Brain knows."},
    shields: {:gauge, "Shields whose lease runs."},
    spine_connects_total: {:counter, "Connections to a NATS server, by result."},
    spine_lost_total: {:counter, "Messages that were not sent, by reason."},
    spine_messages_total: {:counter, "Messages from and to the NATS server, by direction."},
    spine_bytes_total: {:counter, "Payload bytes from and to the NATS server, by direction."},
    spine_skipped_total: {:counter, "Messages that were too large to be read."},
    spine_up: {:gauge, "1 while the NATS server is connected."},
    store_dropped_total: {:counter, "Writes that found no place to wait, by kind."},
    store_up: {:gauge, "1 while Valkey answers, or none is configured."},
    store_writes_total: {:counter, "Writes to Valkey, by result."},
    uptime_seconds: {:gauge, "Seconds since the start."}
  ]

  @doc "The list."
  @spec all() :: [{atom, {:counter | :gauge, binary}}]
  def all, do: @names
end
