//! What the steps need besides the Rust toolchain, and how an ordinary package manager installs it.

use crate::steps::PYTHON;

/// A tool, how to see that it is there, and how to get it.
pub(crate) struct Tool {
    /// What it is.
    pub(crate) name: &'static str,
    /// What needs it.
    pub(crate) why: &'static str,
    /// Succeeds if it is there.
    pub(crate) check: &'static [&'static str],
    /// Commands that install it, in order; `apt-get` gets `sudo` in front unless run as root.
    pub(crate) install: &'static [&'static [&'static str]],
}

const COMPONENTS: Tool = Tool {
    name: "rustfmt and clippy",
    why: "the format and lint steps",
    check: &["sh", "-c", "cargo fmt --version && cargo clippy --version"],
    install: &[&["rustup", "component", "add", "rustfmt", "clippy"]],
};

const CHROMIUM: Tool = Tool {
    name: "chromium",
    why: "the test from a page in a browser",
    check: &["sh", "-c", "command -v chromium || command -v chromium-browser || command -v google-chrome"],
    install: &[
        &["apt-get", "update"],
        &["apt-get", "install", "--yes", "--no-install-recommends", "chromium"],
    ],
};

const PYTHON3: Tool = Tool {
    name: "python 3.11 or newer, with venv",
    why: "the tests with foreign clients",
    check: &["python3", "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"],
    install: &[
        &["apt-get", "update"],
        &["apt-get", "install", "--yes", "--no-install-recommends", "python3", "python3-venv"],
    ],
};

/// A copy of the requirements is left beside the packages: a changed list is seen as missing.
const PACKAGES: Tool = Tool {
    name: "the packages of tests/requirements.txt, in target/venv",
    why: "the tests with foreign clients and with a real nats-server",
    check: &["cmp", "--silent", "tests/requirements.txt", "target/venv/requirements.txt"],
    install: &[
        &["python3", "-m", "venv", "target/venv"],
        &[PYTHON, "-m", "pip", "install", "--quiet", "--requirement", "tests/requirements.txt"],
        &["cp", "tests/requirements.txt", "target/venv/requirements.txt"],
    ],
};

const ELIXIR: Tool = Tool {
    name: "Elixir 1.14 or newer and the Erlang applications that the Brain is built and tested with",
    why: "the Brain",
    check: &[
        "sh",
        "-c",
        "elixir --version && erl -noshell -eval \
         '[{module, _} = code:ensure_loaded(M) || M <- [ssl, eunit, xref, dialyzer, leex]], halt().'",
    ],
    install: &[
        &["apt-get", "update"],
        &[
            "apt-get",
            "install",
            "--yes",
            "--no-install-recommends",
            "elixir",
            "erlang-dev",
            "erlang-dialyzer",
            "erlang-eunit",
            "erlang-inets",
            "erlang-jiffy",
            "erlang-parsetools",
            "erlang-runtime-tools",
            "erlang-ssl",
            "erlang-tools",
            "erlang-xmerl",
        ],
    ],
};

const MAKE: Tool = Tool {
    name: "make and a C compiler",
    why: "the allocator that the programs use",
    check: &["sh", "-c", "make --version && cc --version"],
    install: &[
        &["apt-get", "update"],
        &["apt-get", "install", "--yes", "--no-install-recommends", "build-essential"],
    ],
};

const CLANG: Tool = Tool {
    name: "clang and lld for WebAssembly",
    why: "the example policies",
    check: &["sh", "-c", "clang --print-targets | grep -q wasm32 && command -v wasm-ld"],
    install: &[
        &["apt-get", "update"],
        &["apt-get", "install", "--yes", "--no-install-recommends", "clang", "lld"],
    ],
};

const WASM_TARGET: Tool = Tool {
    name: "wasm32-unknown-unknown of Rust",
    why: "the policy that `arq policy new --lang rust` writes",
    check: &["sh", "-c", "test -d \"$(rustc --print target-libdir --target wasm32-unknown-unknown)\""],
    install: &[&["rustup", "target", "add", "wasm32-unknown-unknown"]],
};

const NODE: Tool = Tool {
    name: "Node.js 18 or newer, with npm",
    why: "the policy that `arq policy new --lang assemblyscript` writes",
    check: &[
        "sh",
        "-c",
        "node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' && npm --version",
    ],
    install: &[
        &["apt-get", "update"],
        &["apt-get", "install", "--yes", "--no-install-recommends", "nodejs", "npm"],
    ],
};

const VALGRIND: Tool = Tool {
    name: "valgrind",
    why: "counting the instructions of the hot path",
    check: &["valgrind", "--version"],
    install: &[
        &["apt-get", "update"],
        &["apt-get", "install", "--yes", "--no-install-recommends", "valgrind"],
    ],
};

const VALKEY: Tool = Tool {
    name: "valkey-server, or redis-server, which Debian 12 has instead",
    why: "the Brain and the stack",
    check: &["sh", "-c", "command -v valkey-server || command -v redis-server"],
    install: &[
        &["apt-get", "update"],
        &["apt-get", "install", "--yes", "--no-install-recommends", "redis-server"],
    ],
};

const DOCKER: Tool = Tool {
    name: "a Docker engine, running or to be started",
    why: "the stack in containers, and the Brain on the newest Elixir",
    check: &["sh", "-c", "docker info || { docker --version && dockerd --version && iptables --version; }"],
    install: &[
        &["apt-get", "update"],
        &["apt-get", "install", "--yes", "--no-install-recommends", "docker.io", "iptables"],
    ],
};

const COMPOSE: Tool = Tool {
    name: "Docker Compose 2",
    why: "arq dev up --stack",
    check: &["docker", "compose", "version"],
    install: &[&["deploy/images/compose.sh"]],
};

const MMDEBSTRAP: Tool = Tool {
    name: "mmdebstrap",
    why: "base images where no registry can be reached",
    check: &["mmdebstrap", "--version"],
    install: &[
        &["apt-get", "update"],
        &["apt-get", "install", "--yes", "--no-install-recommends", "mmdebstrap"],
    ],
};

const CXX: Tool = Tool {
    name: "a C++ compiler",
    why: "fuzzing: libFuzzer is C++",
    check: &["c++", "--version"],
    install: &[&["apt-get", "update"], &["apt-get", "install", "--yes", "--no-install-recommends", "g++"]],
};

/// What [`crate::steps::TEST`] needs.
pub(crate) const TEST: &[Tool] = &[
    COMPONENTS,
    MAKE,
    CXX,
    CHROMIUM,
    PYTHON3,
    PACKAGES,
    ELIXIR,
    CLANG,
    WASM_TARGET,
    NODE,
    VALGRIND,
    VALKEY,
    DOCKER,
    COMPOSE,
    MMDEBSTRAP,
];

/// What [`crate::steps::NIGHTLY`] needs.
pub(crate) const NIGHTLY: &[Tool] = &[CXX];
