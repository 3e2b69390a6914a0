defmodule ArqonBrain.Nats.AuthTest do
  use ExUnit.Case, async: true

  alias ArqonBrain.{NatsKeys, NatsServer}
  alias ArqonBrain.Nats.{Auth, Handshake, Transport}

  @moduletag :tmp_dir

  defp open(server, overrides) do
    spine = NatsServer.spine(server, overrides)

    case Handshake.open(hd(spine.servers), spine, "brain-1", 65_536) do
      {:ok, accepted} -> Transport.abort(accepted.transport)
      {:error, reason} -> {:error, reason}
    end
  end

  defp server(context, config) do
    server = NatsServer.start(context.tmp_dir, config)
    on_exit(fn -> NatsServer.stop(server) end)
    server
  end

  defp file(context, name, text) do
    path = Path.join(context.tmp_dir, name)
    File.write!(path, text)
    path
  end

  test "the checksum of keys is the one of everybody else" do
    assert Auth.crc16("123456789") == 0x31C3
  end

  test "a published pair of seed and key is read" do
    # From the documentation of NATS.
    seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
    public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
    assert {:ok, ^public, seed_bytes} = Auth.decode_seed(seed)
    assert byte_size(seed_bytes) == 32
  end

  test "what is no seed of a user is refused" do
    {seed, _public} = NatsKeys.pair(:user)
    {account, _public} = NatsKeys.pair(:account)
    <<first, rest::binary>> = seed
    bad = [account, "", "SU", rest, <<first, ?A>> <> rest, String.downcase(seed), :rand.bytes(58)]
    for text <- bad, do: assert(Auth.decode_seed(text) == :error)

    # One letter changed: the checksum sees it. The last letter has bits that mean nothing.
    for at <- 2..56 do
      {before, <<letter, rest::binary>>} = :erlang.split_binary(seed, at)
      changed = before <> <<if(letter == ?A, do: ?B, else: ?A)>> <> rest
      assert Auth.decode_seed(changed) == :error
    end
  end

  test "a user and a password", context do
    server = server(context, "authorization {user: brain, password: \"a b\"}")
    right = file(context, "right", "a b\n")
    wrong = file(context, "wrong", "nope")
    assert :ok == open(server, auth: {:password, "brain", right})
    assert {:error, reason} = open(server, auth: {:password, "brain", wrong})
    assert reason =~ "Authorization Violation"
    assert {:error, reason} = open(server, auth: :none)
    assert reason =~ "Authorization Violation"
    assert {:error, reason} = open(server, auth: {:password, "brain", right <> "-missing"})
    assert reason =~ "right-missing: no such file"
    refute reason =~ "a b"
  end

  test "a key", context do
    {seed, public} = NatsKeys.pair(:user)
    {other, _public} = NatsKeys.pair(:user)
    server = server(context, "authorization {users = [{nkey: #{public}}]}")
    assert :ok == open(server, auth: {:nkey, file(context, "seed", seed <> "\n")})
    assert {:error, reason} = open(server, auth: {:nkey, file(context, "other", other)})
    assert reason =~ "Authorization Violation"
    assert {:error, reason} = open(server, auth: {:nkey, file(context, "bad", "SUNONSENSE")})
    assert reason =~ "holds no seed of a user"
    refute reason =~ "NONSENSE"
  end

  test "a key for a server that asks for none is refused here", context do
    {seed, _public} = NatsKeys.pair(:user)

    assert {:error, reason} =
             open(server(context, ""), auth: {:nkey, file(context, "seed", seed)})

    assert reason =~ "asks for no signature"
  end

  test "a file of credentials", context do
    {config, creds} = NatsKeys.operator_mode()
    server = server(context, config)
    assert :ok == open(server, auth: {:creds, file(context, "creds", creds)})

    assert {:error, reason} =
             open(server, auth: {:creds, file(context, "half", String.slice(creds, 0, 60))})

    assert reason =~ "holds no block NATS USER JWT"
    {_config, others} = NatsKeys.operator_mode()
    assert {:error, reason} = open(server, auth: {:creds, file(context, "others", others)})
    assert reason =~ "Authorization Violation"
  end

  test "who does not speak NATS is told so", context do
    _folder = context.tmp_dir
    {:ok, listener} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false])
    {:ok, port} = :inet.port(listener)

    for {said, expected} <- [
          {"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak NATS"},
          {"PING\r\n", "did not begin with INFO"},
          {"INFO {\"a\":\r\n", "INFO cannot be read"},
          {"", "closed"}
        ] do
      answer =
        Task.async(fn ->
          {:ok, socket} = :gen_tcp.accept(listener)
          :ok = :gen_tcp.send(socket, said)
          :gen_tcp.close(socket)
        end)

      assert {:error, reason} = open(%{port: port}, [])
      assert reason =~ expected
      Task.await(answer)
    end
  end
end
