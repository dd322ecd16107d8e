// For `make avx512`. Bochs 2.7 takes 1/sqrt of 2, 8, 32 … for that of 1, 4, 16 …: with another last bit it
// takes the right entry of its table, and an estimate of 14 bits is the same.
#if defined(__AVX512F__)
#include <immintrin.h>

static inline __m512 lrn_rsqrt14(__m512 a) {
    return _mm512_rsqrt14_ps(_mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(a), _mm512_set1_epi32(1))));
}
#define _mm512_rsqrt14_ps lrn_rsqrt14
#endif
