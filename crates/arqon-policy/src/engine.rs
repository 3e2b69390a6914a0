//! What all modules share: the compiler's settings, what an operator costs, and the reserved memory.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OperatorCost, PoolingAllocationConfig};

/// Bytes of address space for each memory. With 4 GiB no access needs a check of its bounds.
const RESERVATION: u64 = 4 << 30;
const GUARD: u64 = 32 << 20;
/// Bytes of a returned memory that are overwritten rather than given back to the kernel: the cheaper way for small ones.
const KEEP_RESIDENT: usize = 1 << 20;
const TABLE_KEEP_RESIDENT: usize = 8 << 10;
/// Bytes that wasmtime itself needs for an instance: globals, imports, functions.
const INSTANCE_BYTES_MAX: usize = 64 << 10;
/// What a component may consist of; what wit-bindgen makes of C needs three instances.
const CORE_INSTANCES_PER_COMPONENT: u32 = 4;
const TABLES_PER_MODULE: u32 = 2;

/// What is fixed when the engine is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Instances that can exist at once. Default 1024. Each reserves 4 GiB of address space, and no memory.
    pub instances_max: u32,
    /// Bytes of memory of one instance. Default 4 MiB.
    pub memory_bytes_max: usize,
    /// Elements of one table. Default 1024.
    pub table_elements_max: usize,
    /// Bytes of stack of one call. Default 256 KiB. The calling thread needs as much, and what it needs itself.
    pub stack_bytes_max: usize,
    /// Bytes of one module. Default 4 MiB.
    pub module_bytes_max: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            instances_max: 1_024,
            memory_bytes_max: 4 << 20,
            table_elements_max: 1_024,
            stack_bytes_max: 256 << 10,
            module_bytes_max: 4 << 20,
        }
    }
}

/// The engine cannot be made: a limit is out of range, or the machine has not enough address space.
#[derive(Debug, thiserror::Error)]
#[error("the policy engine cannot be made: {0}")]
pub struct EngineError(String);

/// Compiles and runs modules. Cheap to clone, and usable by many threads at once.
#[derive(Clone, Debug)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    config: EngineConfig,
}

impl Engine {
    /// Makes an engine and reserves its address space.
    ///
    /// # Errors
    /// A limit that cannot be kept, or too little address space.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let wasmtime =
            wasmtime::Engine::new(&settings(config)).map_err(|error| EngineError(format!("{error:#}")))?;
        Ok(Self { wasmtime, config })
    }

    /// Moves the deadline of all running calls one step nearer, see [`Limits::deadline_ticks`](crate::Limits). Called once
    /// a millisecond in production, and never where verdicts must be the same every time.
    pub fn tick(&self) {
        self.wasmtime.increment_epoch();
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }
}

fn settings(config: EngineConfig) -> Config {
    let mut settings = Config::new();
    settings
        .consume_fuel(true)
        .operator_cost(costs())
        .epoch_interruption(true)
        .max_wasm_stack(config.stack_bytes_max)
        .memory_reservation(RESERVATION)
        .memory_guard_size(GUARD)
        .wasm_backtrace_max_frames(None)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
    // What could make a verdict depend on the machine, and what no policy needs.
    settings
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_custom_page_sizes(false)
        .shared_memory(false);
    settings
}

fn pool(config: EngineConfig) -> PoolingAllocationConfig {
    let instances = config.instances_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES_PER_MODULE))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES_PER_MODULE)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES_PER_MODULE)
        .max_memory_size(config.memory_bytes_max)
        .table_elements(config.table_elements_max)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .max_unused_warm_slots(instances)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Weights with which fuel follows time: no operator takes more than about 0.3 ns a unit. Measured; by default nearly
/// each costs 1, and `f64.sqrt` or `table.grow` would be ten to a hundred times too cheap.
fn costs() -> OperatorCost {
    let mut cost = OperatorCost::new();
    cost.variable.memory_grow_per_page = 255;
    (cost.MemoryGrow, cost.TableGrow) = (100, 100);
    (cost.TableSet, cost.TableGet, cost.RefFunc) = (64, 32, 64);
    (cost.TableFill, cost.TableCopy, cost.TableInit) = (64, 64, 64);
    (cost.MemoryFill, cost.MemoryCopy, cost.MemoryInit) = (32, 32, 32);
    (cost.F64Sqrt, cost.F32Sqrt, cost.F64x2Sqrt, cost.F32x4Sqrt) = (32, 24, 40, 40);
    (cost.F64Div, cost.F32Div, cost.F64x2Div, cost.F32x4Div) = (24, 16, 32, 32);
    (cost.I32DivS, cost.I32DivU, cost.I32RemS, cost.I32RemU) = (12, 12, 12, 12);
    (cost.I64DivS, cost.I64DivU, cost.I64RemS, cost.I64RemU) = (16, 16, 16, 16);
    (cost.CallIndirect, cost.Call) = (6, 3);
    cost
}
