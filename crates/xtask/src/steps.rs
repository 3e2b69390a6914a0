//! What is run, as data: to add a step, add a line.

/// One command.
pub(crate) struct Step {
    /// Shown, and named again if it fails.
    pub(crate) name: &'static str,
    /// The program and its arguments; `{}` stands for what [`Step::each`] yields.
    pub(crate) command: &'static [&'static str],
    /// Variables for this command alone.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// How often it is run.
    pub(crate) each: Each,
}

/// How often a step is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Each {
    /// Once.
    Once,
    /// For the path of every `.toml` in `scenarios/`. None at all is a failure.
    Scenario,
    /// For the name of every target in `fuzz/fuzz_targets/`. None at all is a failure.
    FuzzTarget,
}

const fn step(name: &'static str, command: &'static [&'static str]) -> Step {
    Step { name, command, env: &[], each: Each::Once }
}

const fn each(each: Each, name: &'static str, command: &'static [&'static str]) -> Step {
    Step { name, command, env: &[], each }
}

/// Selected as by the step `tests`, so that nothing but the tests themselves is built anew.
const ALL_PACKAGES: &str = "--workspace";
/// In every build, for it brings libraries of its own: without it in one of them, all that uses a library of theirs would be built anew.
const CONTAINERS: &str = "--features=arqon-stack/containers";
/// Tests that need more than the toolchain.
const REAL: &str = "--features=arqon-stack/containers,arqon-stack/real-parts,arq/real-parts,loadgen/real-parts,sim/real-parts";
/// The simulator with bugs in it.
const BUGS: &str = "--features=arqon-stack/containers,sim/planted-bugs,sim/real-parts";

/// As the step `tests` has built them: for each other selection of packages all that the Shield consists of would be built anew.
const SIM: &str = "target/debug/sim";
const DIFFERENTIAL: &str = "target/debug/differential";

/// A fuzzer is an ordinary program that was compiled with these: no other toolchain is needed.
const INSTRUMENTED: &[(&str, &str)] = &[(
    "RUSTFLAGS",
    "--cfg fuzzing -Cdebug-assertions -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares",
)];
/// A target, its name behind this and before the seconds, from what is committed and what it found before.
const FUZZ: &str = "mkdir -p fuzz/corpus/$0 && exec cargo run --quiet --release --manifest-path fuzz/Cargo.toml \
                    --target host-tuple --bin $0 -- -verbosity=0 -max_total_time=$1 fuzz/corpus/$0 fuzz/seeds/$0";

/// The virtual environment of the Python tests.
pub(crate) const PYTHON: &str = "target/venv/bin/python";

/// `cargo xtask test`: the quickest to fail comes first.
pub(crate) const TEST: &[Step] = &[
    step("format", &["cargo", "fmt", "--all", "--check"]),
    step("tidy", &["cargo", "xtask", "tidy"]),
    step("clippy", &["cargo", "clippy", ALL_PACKAGES, REAL, "--all-targets", "--", "-D", "warnings"]),
    step("tests", &["cargo", "test", ALL_PACKAGES, CONTAINERS]),
    Step {
        env: &[("RUSTDOCFLAGS", "-D warnings")],
        ..step("documentation", &["cargo", "doc", ALL_PACKAGES, REAL, "--no-deps"])
    },
    step("instructions of the hot path", &["cargo", "xtask", "instructions", "--without-shield"]),
    step("foreign clients and a browser", &[PYTHON, "-m", "pytest", "tests/clients"]),
    Step {
        env: INSTRUMENTED,
        ..each(Each::FuzzTarget, "five seconds of fuzzing", &["sh", "-c", FUZZ, "{}", "5"])
    },
    step("the simulator repeats itself", &[SIM, "meta", "scenarios/smoke.toml"]),
    step("the simulator repeats itself with policies", &[SIM, "meta", "scenarios/policy_exchange.toml"]),
    step("plans that failed once", &[SIM, "regressions"]),
    each(Each::Scenario, "20 seeds", &[SIM, "sweep", "{}", "--seeds", "0..20"]),
    step("the picture of a failed run in a browser", &[PYTHON, "-m", "pytest", "tests/picture"]),
    step("the Brain", &["sh", "-c", "cd brain && mix check"]),
    step("release of the Brain", &["sh", "-c", "cd brain && MIX_ENV=prod mix release --overwrite"]),
    step(
        "planted bugs are caught, scenarios on real parts",
        &[
            "cargo",
            "test",
            ALL_PACKAGES,
            BUGS,
            "--bin=sim",
            "--test=live",
            "--test=planted",
            "--test=runs",
            "--test=shrink",
        ],
    ),
    step(
        "the stack as processes",
        &["cargo", "test", ALL_PACKAGES, REAL, "--test=processes", "--test=deployed", "--", "--nocapture"],
    ),
    step(
        "the loss of each real part",
        &["cargo", "test", ALL_PACKAGES, REAL, "--test", "losses", "--", "--nocapture", "--test-threads=2"],
    ),
    step("traces that once showed a difference", &[DIFFERENTIAL, "replay", "vectors/traces"]),
    step("200 random traces by both Brains", &[DIFFERENTIAL, "run", "--traces", "200"]),
    step(
        "arq dev up --stack --processes",
        &["cargo", "test", ALL_PACKAGES, REAL, "--test", "stack", "processes"],
    ),
    step(
        "images",
        &["cargo", "xtask", "docker", "sh", "-c", "deploy/images/base.sh && deploy/images/build.sh"],
    ),
    step("the Brain on the newest Elixir", &["cargo", "xtask", "docker", "deploy/images/test_brain.sh"]),
    step(
        "arq dev up --stack",
        &["cargo", "xtask", "docker", "cargo", "test", ALL_PACKAGES, REAL, "--test", "stack", "containers"],
    ),
    step(
        "the stack in containers",
        &[
            "cargo",
            "xtask",
            "docker",
            "cargo",
            "test",
            ALL_PACKAGES,
            REAL,
            "--test",
            "containers",
            "--",
            "--nocapture",
        ],
    ),
];

/// `cargo xtask nightly`.
pub(crate) const NIGHTLY: &[Step] = &[
    step("tests in release", &["cargo", "test", "--workspace", "--release"]),
    step(
        "memory of idle sockets",
        &["cargo", "run", "--release", "--package", "loadgen", "--", "--sockets", "15000", "--rounds", "3"],
    ),
    step(
        "100,000 sockets",
        &["cargo", "run", "--release", "--package", "loadgen", "--", "--sockets", "100000"],
    ),
    step(
        "the simulator repeats itself",
        &["cargo", "run", "--release", "--package", "sim", "--", "meta", "scenarios/smoke.toml"],
    ),
    each(
        Each::Scenario,
        "500 seeds",
        &[
            "cargo",
            "run",
            "--release",
            "--package",
            "sim",
            "--",
            "sweep",
            "{}",
            "--seeds",
            "0..500",
            "--capsules",
            "target/capsules",
        ],
    ),
    step("release of the Brain", &["sh", "-c", "cd brain && MIX_ENV=prod mix release --overwrite"]),
    step("a Shield", &["cargo", "build", "--package", "arqon-shield"]),
    step(
        "ten thousand members of one room",
        &["cargo", "test", ALL_PACKAGES, REAL, "--test", "crowd", "--", "--nocapture"],
    ),
    step(
        "5000 random traces by both Brains",
        &["cargo", "run", "--package", "arqon-differential", "--", "run", "--traces", "5000"],
    ),
    Step {
        env: INSTRUMENTED,
        ..each(Each::FuzzTarget, "five minutes of fuzzing", &["sh", "-c", FUZZ, "{}", "300"])
    },
];
