defmodule ArqonBrain.NatsKeys do
  @moduledoc "Keys and signed claims for tests, as the tools of NATS make them."

  import Bitwise

  @prefixes %{operator: 14 <<< 3, account: 0, user: 20 <<< 3}
  @seed 18 <<< 3

  @doc "The text forms of a new seed and its public key."
  def pair(kind) do
    {public, seed} = :crypto.generate_key(:eddsa, :ed25519)
    prefix = @prefixes[kind]
    head = <<bor(@seed, prefix >>> 5), (prefix &&& 31) <<< 3>>
    {text(head <> seed), text(<<prefix, public::binary>>)}
  end

  defp text(raw) do
    crc = ArqonBrain.Nats.Auth.crc16(raw)
    Base.encode32(raw <> <<crc::little-16>>, padding: false)
  end

  @doc "The configuration of a server that trusts an operator, and the credentials of a user of it."
  def operator_mode do
    {operator_seed, operator} = pair(:operator)
    {account_seed, account} = pair(:account)
    {user_seed, user} = pair(:user)
    operator_jwt = jwt(operator_seed, operator, operator, "operator")
    account_jwt = jwt(operator_seed, operator, account, "account")
    user_jwt = jwt(account_seed, account, user, "user")

    config = """
    operator: #{operator_jwt}
    resolver: MEMORY
    resolver_preload: { #{account}: #{account_jwt} }
    """

    creds = """
    -----BEGIN NATS USER JWT-----
    #{user_jwt}
    ------END NATS USER JWT------

    ************************* IMPORTANT *************************
    NKEY Seed printed below can be used to sign and prove identity.

    -----BEGIN USER NKEY SEED-----
    #{user_seed}
    ------END USER NKEY SEED------
    """

    {config, creds}
  end

  # Without limits an account means none at all.
  @limits [
    subs: -1,
    data: -1,
    payload: -1,
    imports: -1,
    exports: -1,
    wildcards: true,
    conn: -1,
    leaf: -1
  ]

  defp jwt(seed_text, issuer, subject, type) do
    claims = [
      jti: Base.encode32(:crypto.strong_rand_bytes(20), padding: false),
      iat: System.os_time(:second),
      iss: issuer,
      name: type,
      sub: subject,
      nats: nats(type)
    ]

    encode = fn value ->
      value
      |> ArqonBrain.Json.encode()
      |> IO.iodata_to_binary()
      |> Base.url_encode64(padding: false)
    end

    signed = encode.(typ: "JWT", alg: "ed25519-nkey") <> "." <> encode.(claims)

    {:ok, <<_head::16, seed::binary-size(32), _crc::16>>} =
      Base.decode32(seed_text, padding: false)

    signature = :crypto.sign(:eddsa, :none, signed, [seed, :ed25519])
    signed <> "." <> Base.url_encode64(signature, padding: false)
  end

  defp nats("account"), do: [limits: @limits, type: "account", version: 2]
  defp nats("user"), do: [subs: -1, data: -1, payload: -1, type: "user", version: 2]
  defp nats(type), do: [type: type, version: 2]
end
