// Part of files that are compiled for several instruction sets (see InstructionSets.h): the instructions of a WalkerBondPlan.
#ifndef OPENMM_RARE_BONDINSTRUCTIONS_H_
#define OPENMM_RARE_BONDINSTRUCTIONS_H_

#include "DoubleVectors.h"
#include "WalkerBonds.h"

namespace {

using OpenMMRare::WalkerBondPlan;

/** Vectors in a row. */
const int Length = WalkerBondPlan::Lanes/Width;

/** The rows of the work space. */
struct Block {
    const WalkerBondPlan& plan;
    Vector* work;

    Vector* row(int index) const {
        return work+index*Length;
    }
};

/** Compute each vector of a row. */
template <class Function> inline void fill(Vector* out, Function function) {
    for (int v = 0; v < Length; v++)
        out[v] = function(v);
}

/** Compute one number after the other. */
template <class Function> inline void fillLanes(Vector* out, Function function) {
    for (int lane = 0; lane < WalkerBondPlan::Lanes; lane++)
        ((double*) out)[lane] = function(lane);
}

/** Numbers of one bond in all lanes. */
struct SameNumbers {
    const double* numbers;

    double of(int index, int v) const {
        return numbers[index];
    }
};

/** Numbers of another bond in each lane. */
struct RowsOfNumbers {
    const Vector* rows;

    Vector of(int index, int v) const {
        return rows[index*Length+v];
    }
};

template <class Numbers>
inline void execute(const Block& block, const WalkerBondPlan::Instruction& step, const Numbers numbers, Vector* out) {
    const Vector *a = block.row(step.a), *b = block.row(step.b), *c = block.row(step.c);
    const double *x = (const double*) a, *y = (const double*) b;
    const auto u = [=](int v) { return numbers.of(step.number, v); };
    switch (step.operation) {
        case WalkerBondPlan::Fill: fill(out, [=](int v) { return u(v)-Vector{}; }); break;
        case WalkerBondPlan::Add: fill(out, [=](int v) { return a[v]+b[v]; }); break;
        case WalkerBondPlan::AddNumber: fill(out, [=](int v) { return a[v]+u(v); }); break;
        case WalkerBondPlan::Subtract: fill(out, [=](int v) { return a[v]-b[v]; }); break;
        case WalkerBondPlan::SubtractFromNumber: fill(out, [=](int v) { return u(v)-a[v]; }); break;
        case WalkerBondPlan::Multiply: fill(out, [=](int v) { return a[v]*b[v]; }); break;
        case WalkerBondPlan::MultiplyByNumber: fill(out, [=](int v) { return a[v]*u(v); }); break;
        case WalkerBondPlan::Divide: fill(out, [=](int v) { return a[v]/b[v]; }); break;
        case WalkerBondPlan::DivideNumber: fill(out, [=](int v) { return u(v)/a[v]; }); break;
        case WalkerBondPlan::SquareRoot: fill(out, [=](int v) { return squareRoot(a[v]); }); break;
        case WalkerBondPlan::Absolute: fill(out, [=](int v) { return a[v] < 0.0 ? -a[v] : a[v]; }); break;
        case WalkerBondPlan::Step: fill(out, [=](int v) { return a[v] >= 0.0 ? all(1) : all(0); }); break;
        case WalkerBondPlan::Delta: fill(out, [=](int v) { return a[v] == 0.0 ? all(1) : all(0); }); break;
        case WalkerBondPlan::Min: fill(out, [=](int v) { return b[v] < a[v] ? b[v] : a[v]; }); break;
        case WalkerBondPlan::Max: fill(out, [=](int v) { return a[v] < b[v] ? b[v] : a[v]; }); break;
        case WalkerBondPlan::Select: fill(out, [=](int v) { return a[v] == 0.0 ? c[v] : b[v]; }); break;
        case WalkerBondPlan::CallOne: fillLanes(out, [=](int lane) { return step.ofOne(x[lane]); }); break;
        case WalkerBondPlan::CallTwo: fillLanes(out, [=](int lane) { return step.ofTwo(x[lane], y[lane]); }); break;
    }
}

} // namespace

#endif /*OPENMM_RARE_BONDINSTRUCTIONS_H_*/
