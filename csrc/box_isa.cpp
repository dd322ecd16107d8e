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
    {box_forward<float>, box_forward<double>},
    {box_vjp<float>, box_vjp<double>},
    {box_jvp<float>, box_jvp<double>},
    {box_parameters<float>, box_parameters<double>},
};

}  // namespace lrn
