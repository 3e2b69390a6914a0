# Patience costs only a test that fails; a busy machine may take long over what is sure to come.
ExUnit.start(assert_receive_timeout: 30_000, timeout: 180_000)
