// Every kernel for one instruction set: compiled once per set, with that set's flags and
// LRN_ISA naming it.
#include "forward.hpp"
#include "jvp.hpp"
#include "parameters.hpp"
#include "vjp.hpp"

#define LRN_JOIN_(a, b) a##b
#define LRN_JOIN(a, b) LRN_JOIN_(a, b)

namespace lrn {
namespace {

template <class S>
bool vjp_parameters(const Tile& tile) {
    return parameters<S>(tile) && vjp<S>(tile);
}

}  // namespace

extern const KernelTable LRN_JOIN(kernels_, LRN_ISA);
const KernelTable LRN_JOIN(kernels_, LRN_ISA) = {
    {forward<float>, forward<double>, forward<f16>, forward<bf16>},
    {vjp<float>, vjp<double>, vjp<f16>, vjp<bf16>},
    {jvp<float>, jvp<double>, jvp<f16>, jvp<bf16>},
    {parameters<float>, parameters<double>, parameters<f16>, parameters<bf16>},
    {vjp_parameters<float>, vjp_parameters<double>, vjp_parameters<f16>, vjp_parameters<bf16>},
};

}  // namespace lrn
