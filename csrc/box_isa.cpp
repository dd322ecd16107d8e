// Every kernel for boxes of one instruction set: compiled once per set, as isa.cpp is.
#include "box_forward.hpp"
#include "box_jvp.hpp"
#include "box_parameters.hpp"
#include "box_vjp.hpp"

#define LRN_JOIN_(a, b) a##b
#define LRN_JOIN(a, b) LRN_JOIN_(a, b)

namespace lrn {

extern const BoxKernelTable LRN_JOIN(box_kernels_, LRN_ISA);
const BoxKernelTable LRN_JOIN(box_kernels_, LRN_ISA) = {
    {box_forward<float>, box_forward<double>, box_forward<f16>, box_forward<bf16>},
    {box_vjp<float>, box_vjp<double>, box_vjp<f16>, box_vjp<bf16>},
    {box_jvp<float>, box_jvp<double>, box_jvp<f16>, box_jvp<bf16>},
    {box_parameters<float>, box_parameters<double>, box_parameters<f16>, box_parameters<bf16>},
};

}  // namespace lrn
