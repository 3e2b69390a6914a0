//! How nodes reach the simulated spine.

use arqon_scenario::Node;
use arqon_shield::env::Entropy;
use turmoil::Sim;
