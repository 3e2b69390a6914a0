defmodule ArqonBrain.Wire.Schema do
  @moduledoc """
  The messages of `proto/arqon/v1/control.proto` as a table: number, key, type.

  A key `{group, member}` is a member of a oneof: its value is stored under `group` as `{member, value}`.
  """

  @type type ::
          :uint64
          | :fixed64
          | :bool
          | :string
          | :bytes
          | {:message, atom}
          | {:repeated, :string | {:message, atom}}
  @type key :: atom | {group :: atom, member :: atom}

  body =
    for {number, name} <- [
          {4, :hello},
          {5, :heartbeat},
          {6, :bye},
          {7, :update},
          {8, :digests},
          {9, :compare},
          {10, :order_reply},
          {11, :close_refused},
          {12, :ask},
          {13, :shared},
          {14, :want},
          {15, :part},
          {16, :welcome},
          {17, :forgotten},
          {18, :occupied},
          {19, :resync},
          {20, :pull},
          {21, :order},
          {22, :beacon},
          {23, :idle_close},
          {24, :answer},
          {25, :room_event}
        ],
        do: {number, {:body, name}, {:message, name}}

  @messages %{
    control: [{1, :from, :string}, {2, :instance, :uint64}, {3, :incarnation, :uint64} | body],
    hello: [],
    heartbeat: [{1, :digest, :fixed64}, {2, :load, {:message, :load}}],
    load: [
      {1, :sockets, :uint64},
      {2, :rooms, :uint64},
      {3, :received, :uint64},
      {4, :delivered, :uint64},
      {5, :version, :string},
      {6, :draining, :bool},
      {7, :settings, :uint64},
      {8, :policies, {:repeated, {:message, :running}}}
    ],
    running: [{1, :name, :string}, {2, :module, :bytes}, {3, :version, :string}],
    bye: [],
    update: [{1, :rooms, {:repeated, {:message, :room_part}}}],
    room_part: [{1, :subject, :string}, {2, :slices, {:repeated, {:message, :slice}}}],
    slice: [
      {1, :shield, :string},
      {2, :incarnation, :uint64},
      {3, :spans, {:repeated, {:message, :span}}},
      {4, :entries, {:repeated, {:message, :entry}}},
      {5, :members_version, :uint64},
      {6, :members, :uint64}
    ],
    span: [{1, :from, :uint64}, {2, :to, :uint64}],
    entry: [
      {1, :counter, :uint64},
      {2, :user, :string},
      {3, :session, :bytes},
      {4, :meta, :bytes}
    ],
    digests: [
      {1, :after, :string},
      {2, :upto, :string},
      {3, :rooms, {:repeated, {:message, :room_digest}}},
      {4, :shared, :fixed64}
    ],
    room_digest: [{1, :subject, :string}, {2, :digest, :fixed64}],
    compare: [{1, :rooms, {:repeated, {:message, :watched}}}],
    watched: [{1, :subject, :string}, {2, :digest, :fixed64}, {3, :shields, {:repeated, :string}}],
    order_reply: [{1, :brain, :string}, {2, :id, :uint64}],
    close_refused: [{1, :subject, :string}, {2, :generation, :uint64}],
    welcome: [
      {1, :instance, :uint64},
      {2, :incarnation, :uint64},
      {3, :accepted, :bool},
      {4, :answers, :uint64}
    ],
    forgotten: [{1, :instance, :uint64}, {2, :incarnation, :uint64}, {3, :answers, :uint64}],
    occupied: [{1, :instance, :uint64}, {2, :holder_incarnation, :uint64}, {3, :answers, :uint64}],
    resync: [],
    pull: [{1, :to, :string}, {2, :subjects, {:repeated, :string}}],
    order: [
      {1, :id, :uint64},
      {2, {:kind, :kick}, {:message, :kick}},
      {3, {:kind, :close_room}, {:message, :close_room}},
      {4, {:kind, :drain}, {:message, :drain}}
    ],
    kick: [
      {1, :tenant, :string},
      {2, :user, :string},
      {3, :session, :bytes},
      {4, :reason, :string}
    ],
    close_room: [{1, :subject, :string}, {2, :generation, :uint64}, {3, :reason, :string}],
    drain: [{1, :reason, :string}],
    beacon: [
      {1, :warming, :bool},
      {2, :shields, {:repeated, {:message, :vouched}}},
      {3, :shared, :fixed64}
    ],
    vouched: [{1, :shield, :string}, {2, :incarnation, :uint64}],
    idle_close: [{1, :subject, :string}, {2, :generation, :uint64}],
    shared: [
      {1, :pull, :string},
      {2, :revoked, {:repeated, {:message, :revocation}}},
      {3, :settings, {:message, :settings}}
    ],
    revocation: [
      {1, :tenant, :string},
      {2, :user, :string},
      {3, :session, :bytes},
      {4, :jti, :string},
      {5, :at_ms, :uint64},
      {6, :until_ms, :uint64}
    ],
    settings: [
      {1, :version, :uint64},
      {2, :rooms, {:repeated, {:message, :room_setting}}},
      {3, :policies, {:repeated, {:message, :deployed}}}
    ],
    deployed: [{1, :name, :string}, {2, :releases, {:repeated, {:message, :release}}}],
    release: [
      {1, :module, :bytes},
      {2, :size, :uint64},
      {3, :version, :string},
      {4, :at_ms, :uint64}
    ],
    want: [{1, :to, :string}, {2, :module, :bytes}, {3, :offset, :uint64}],
    part: [{1, :module, :bytes}, {2, :offset, :uint64}, {3, :data, :bytes}],
    room_setting: [
      {1, :tenant, :string},
      {2, :pattern, :string},
      {3, :members_max, :uint64},
      {4, :publish_rate_per_s, :uint64},
      {5, :idle_close_ms, :uint64}
    ],
    ask: [
      {1, :id, :uint64},
      {2, :to, :string},
      {3, {:kind, :rooms}, {:message, :ask_rooms}},
      {4, {:kind, :members}, {:message, :ask_members}},
      {5, {:kind, :shields}, {:message, :ask_shields}},
      {6, {:kind, :kick}, {:message, :kick}},
      {7, {:kind, :close_room}, {:message, :close_room}},
      {8, {:kind, :drain}, {:message, :ask_drain}},
      {9, {:kind, :revoke}, {:message, :revocation}},
      {10, {:kind, :set}, {:message, :settings}},
      {11, {:kind, :settings}, {:message, :ask_settings}}
    ],
    ask_rooms: [{1, :tenant, :string}, {2, :after, :string}, {3, :limit, :uint64}],
    ask_members: [{1, :subject, :string}, {2, :after, :string}, {3, :limit, :uint64}],
    ask_shields: [{1, :after, :string}],
    ask_drain: [{1, :shield, :string}, {2, :reason, :string}],
    ask_settings: [],
    answer: [
      {1, :instance, :uint64},
      {2, :id, :uint64},
      {3, :error, :uint64},
      {4, :message, :string},
      {5, {:result, :rooms}, {:message, :room_list}},
      {6, {:result, :members}, {:message, :member_list}},
      {7, {:result, :shields}, {:message, :shield_list}},
      {8, {:result, :order}, {:message, :order_result}},
      {9, {:result, :settings}, {:message, :settings}}
    ],
    room_list: [{1, :rooms, {:repeated, {:message, :room_info}}}, {2, :more, :bool}],
    room_info: [
      {1, :subject, :string},
      {2, :generation, :uint64},
      {3, :phase, :uint64},
      {4, :users, :uint64},
      {5, :members, :uint64}
    ],
    member_list: [
      {1, :users, :uint64},
      {2, :members, :uint64},
      {3, :list, {:repeated, {:message, :member_info}}},
      {4, :more, :bool}
    ],
    member_info: [{1, :user, :string}, {2, :metas, {:repeated, {:message, :meta_info}}}],
    meta_info: [{1, :session, :bytes}, {2, :meta, :bytes}],
    shield_list: [
      {1, :shields, {:repeated, {:message, :shield_info}}},
      {2, :settings, :uint64},
      {3, :version, :string},
      {4, :degraded, :string},
      {5, :more, :bool}
    ],
    shield_info: [
      {1, :shield, :string},
      {2, :incarnation, :uint64},
      {3, :up, :bool},
      {4, :silent_ms, :uint64},
      {5, :load, {:message, :load}}
    ],
    order_result: [{1, :reached, {:repeated, :string}}, {2, :unreached, {:repeated, :string}}],
    room_event: [
      {1, :subject, :string},
      {2, :generation, :uint64},
      {3, :kind, :uint64},
      {4, :at_ms, :uint64}
    ]
  }

  @doc "The names of all messages."
  @spec names() :: [atom]
  def names, do: unquote(Map.keys(@messages))

  @doc "The fields of a message in the order of their numbers."
  @spec fields(atom) :: [{pos_integer, key, type}]
  for {name, fields} <- @messages do
    def fields(unquote(name)), do: unquote(Macro.escape(fields))
  end

  @doc "What an absent field has."
  @spec defaults(atom) :: map
  for {name, fields} <- @messages do
    defaults =
      for {_, key, type} <- fields, into: %{} do
        case {key, type} do
          {{group, _}, _} -> {group, nil}
          {_, {:message, _}} -> {key, nil}
          {_, {:repeated, _}} -> {key, []}
          {_, :bool} -> {key, false}
          {_, number} when number in [:uint64, :fixed64] -> {key, 0}
          _ -> {key, ""}
        end
      end

    def defaults(unquote(name)), do: unquote(Macro.escape(defaults))
  end

  @doc "Key and type of one field, `nil` if the message has none of that number."
  @spec field(atom, pos_integer) :: {key, type} | nil
  for {name, fields} <- @messages, {number, key, type} <- fields do
    def field(unquote(name), unquote(number)), do: unquote(Macro.escape({key, type}))
  end

  def field(_name, _number), do: nil
end
