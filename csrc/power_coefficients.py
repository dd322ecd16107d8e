"""Prints the polynomial coefficients of power.hpp and the error of each fit.

Chebyshev interpolation at 60 digits, which is within a factor of about two of the best
polynomial of its degree. Needs mpmath: python csrc/power_coefficients.py
"""

from mpmath import chebyfit, expm1, log, mp, mpf, polyval, sqrt

mp.dps = 60
LN2 = log(2)


def log2_over_f(f):
    """log2(1 + f) / f"""
    return log(1 + f) / (f * LN2) if f else 1 / LN2


def log2_curve(f):
    """(log2(1 + f) - f / ln 2) / f²"""
    return (log(1 + f) - f) / (f * f * LN2) if abs(f) > mpf(10) ** -20 else -1 / (2 * LN2)


def log2_tail(z):
    """(log2((1 + s) / (1 - s)) / s - 2 / ln 2) / z with z = s²"""
    if z < mpf(10) ** -20:
        return 2 / (3 * LN2)
    s = sqrt(z)
    return (log((1 + s) / (1 - s)) / (s * LN2) - 2 / LN2) / z


def exp2_over_f(f):
    """(2**f - 1) / f"""
    return expm1(f * LN2) / f if f else LN2


def fit(name, function, interval, degree):
    coefficients, error = chebyfit(function, interval, degree + 1, error=True)
    rounded = [mpf(float(c)) for c in coefficients]
    points = [interval[0] + (interval[1] - interval[0]) * k / 999 for k in range(1000)]
    worst = max(abs(polyval(rounded, p) - function(p)) for p in points if p)
    print(f"// {name}: error {float(error):.1e}, with rounded coefficients {float(worst):.1e}")
    for c in reversed(coefficients):
        print(f"    {float(c).hex()},")


low, high = sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1
fit("log2_float", log2_curve, [low, high], 8)
fit("exp2_float", exp2_over_f, [mpf(-1) / 2, mpf(1) / 2], 5)
fit("log2_single", log2_over_f, [low, high], 12)
fit("exp2_single", exp2_over_f, [mpf(-1) / 2, mpf(1) / 2], 6)
fit("log2_double", log2_tail, [mpf(0), mpf("0.02945")], 8)
fit("exp2_double", exp2_over_f, [mpf(-1) / 2, mpf(1) / 2], 11)
c = 2 / LN2
single = mpf(float.fromhex("0x1.715476p+0"))
print("// 1 / ln 2 in two floats\n   ", float(single).hex(), float(1 / LN2 - single).hex())
print("// 2 / ln 2 in two parts\n   ", float(c).hex(), float(c - mpf(float(c))).hex())
