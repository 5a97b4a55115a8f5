#include "WalkerBondPlanner.h"
#include "InstructionSets.h"
#include "lepton/Operation.h"
#include "lepton/ParsedExpression.h"
#include "lepton/Parser.h"
#include "openmm/OpenMMException.h"
#include <algorithm>
#include <cmath>

using namespace Lepton;
using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

typedef WalkerBondPlan Plan;
typedef double (*OfOne)(double);
typedef double (*OfTwo)(double, double);

const WalkerBondVariant& OpenMMRare::getWalkerBondVariant() {
    static const WalkerBondVariant* const variants[] = RARE_VARIANTS(walkerBondVariant);
    return *variants[getInstructionSet()];
}

static const string Distance = "r";

WalkerBondPlanner::WalkerBondPlanner(const CustomBondForce& bonds, int numParticles, double cutoff) : plan() {
    plan.numParticles = numParticles;
    plan.cutoff = cutoff;
    keepBonds(bonds);
    const string energy = bonds.getEnergyFunction();
    try {
        planExpressions(energy);
    }
    catch (const exception& failure) {
        throw OpenMMException("WalkerBondForce: the energy "+energy+" cannot be computed: "+failure.what());
    }
    plan.instructions = instructions.data();
    plan.positions = instructions.size()+1;
    plan.forces = plan.positions+3*numParticles;
    plan.differences = plan.forces+3*numParticles;
    plan.numbersOfBonds = plan.differences+4;
    plan.numNumbers = max<int>(1, expressions.size()); // instructions without a number read the first
    plan.numRows = plan.numbersOfBonds+plan.numNumbers;
    plan.numSets = parameters.size();
    numbers.resize(plan.numSets*plan.numNumbers);
    plan.numbers = numbers.data();
}

void WalkerBondPlanner::keepBonds(const CustomBondForce& force) {
    plan.numBonds = force.getNumBonds();
    const int numParts = (plan.numBonds+Plan::Lanes-1)/Plan::Lanes;
    particles.resize(2*numParts*Plan::Lanes);
    sets.resize(plan.numBonds);
    plan.particles = particles.data();
    plan.sets = sets.data();
    for (int i = 0; i < force.getNumGlobalParameters(); i++)
        globals.insert(force.getGlobalParameterName(i));
    map<string, int> known; // by the bytes of the parameters
    for (int i = 0; i < plan.numBonds; i++) {
        vector<double> values;
        force.getBondParameters(i, particles[2*i], particles[2*i+1], values);
        for (int again = i+1; i+1 == plan.numBonds && again < numParts*Plan::Lanes; again++)
            copy_n(&particles[2*i], 2, &particles[2*again]);
        const auto found = known.emplace(string((const char*) values.data(), values.size()*sizeof(double)), parameters.size());
        sets[i] = found.first->second;
        if (!found.second)
            continue;
        parameters.emplace_back();
        for (size_t k = 0; k < values.size(); k++)
            parameters.back()[force.getPerBondParameterName(k)] = values[k];
    }
}

void WalkerBondPlanner::planExpressions(const string& text) {
    const ParsedExpression energy = Parser::parse(text).optimize(), slope = energy.differentiate(Distance).optimize();
    plan.slope = row(slope.getRootNode());
    plan.numForSlope = instructions.size();
    plan.energy = row(energy.getRootNode());
    plan.numForEnergy = instructions.size();
}

void WalkerBondPlanner::setGlobalParameters(const map<string, double>& values) {
    for (int set = 0; set < plan.numSets; set++) {
        map<string, double> variables = values;
        for (auto& parameter : parameters[set])
            variables[parameter.first] = parameter.second;
        for (size_t k = 0; k < expressions.size(); k++)
            numbers[set*plan.numNumbers+k] = ParsedExpression(expressions[k]).evaluate(variables);
    }
}

/** Whether an expression depends on the distance.  All variables in it must be known. */
bool WalkerBondPlanner::changes(const Node& node) const {
    if (node.getOperation().getId() == Operation::VARIABLE) {
        const string name = node.getOperation().getName();
        if (name != Distance && globals.count(name) == 0 && parameters[0].count(name) == 0)
            throw OpenMMException("there is no parameter "+name);
        return name == Distance;
    }
    bool any = false;
    for (auto& child : node.getChildren())
        any |= changes(child);
    return any;
}

/** Index of the value of an expression without r. */
int WalkerBondPlanner::number(const Node& node) {
    for (size_t k = 0; k < expressions.size(); k++)
        if (expressions[k] == node)
            return k;
    expressions.push_back(node);
    return expressions.size()-1;
}

/** The row of an instruction's result; what has been computed before is not computed again. */
int WalkerBondPlanner::add(Plan::Instruction wanted) {
    auto same = [&](const Plan::Instruction& other) {
        return wanted.operation == other.operation && wanted.a == other.a && wanted.b == other.b && wanted.c == other.c
               && wanted.number == other.number && wanted.ofOne == other.ofOne && wanted.ofTwo == other.ofTwo;
    };
    for (size_t k = 0; k < instructions.size(); k++)
        if (same(instructions[k]))
            return k+1;
    instructions.push_back(wanted);
    return instructions.size();
}

/** The row of an expression's values. */
int WalkerBondPlanner::row(const Node& node) {
    if (!changes(node))
        return add({Plan::Fill, 0, 0, 0, number(node)});
    auto constant = [&](double value) { return number(Node(new Operation::Constant(value))); };
    auto argument = [&] { return row(node.getChildren()[0]); };
    const Operation& operation = node.getOperation();
    switch (operation.getId()) {
        case Operation::VARIABLE:
            return 0;
        case Operation::ADD: case Operation::SUBTRACT: case Operation::MULTIPLY: case Operation::DIVIDE:
            return arithmetic(node);
        case Operation::ADD_CONSTANT:
            return add({Plan::AddNumber, argument(), 0, 0,
                        constant(dynamic_cast<const Operation::AddConstant&>(operation).getValue())});
        case Operation::MULTIPLY_CONSTANT:
            return add({Plan::MultiplyByNumber, argument(), 0, 0,
                        constant(dynamic_cast<const Operation::MultiplyConstant&>(operation).getValue())});
        case Operation::POWER_CONSTANT: {
            const double exponent = dynamic_cast<const Operation::PowerConstant&>(operation).getValue();
            if (exponent == (int) exponent)
                return power(argument(), (int) exponent);
            const int base = argument();
            return add({Plan::CallTwo, base, add({Plan::Fill, 0, 0, 0, constant(exponent)}), 0, 0, nullptr, (OfTwo) pow});
        }
        case Operation::SQUARE:
            return power(argument(), 2);
        case Operation::CUBE:
            return power(argument(), 3);
        case Operation::RECIPROCAL:
            return power(argument(), -1);
        case Operation::NEGATE:
            return add({Plan::MultiplyByNumber, argument(), 0, 0, constant(-1)});
        default:
            return call(node);
    }
}

int WalkerBondPlanner::arithmetic(const Node& node) {
    const Operation::Id id = node.getOperation().getId();
    const Node &first = node.getChildren()[0], &second = node.getChildren()[1];
    if (!changes(first)) {
        const int b = row(second), u = number(first);
        const int operation = id == Operation::ADD ? Plan::AddNumber : id == Operation::SUBTRACT ? Plan::SubtractFromNumber
                : id == Operation::MULTIPLY ? Plan::MultiplyByNumber : Plan::DivideNumber;
        return add({operation, b, 0, 0, u});
    }
    const int a = row(first);
    if (!changes(second)) {
        if (id == Operation::ADD || id == Operation::SUBTRACT)
            return add({Plan::AddNumber, a, 0, 0, number(id == Operation::ADD ? second : Node(new Operation::Negate(), second))});
        return add({Plan::MultiplyByNumber, a, 0, 0,
                    number(id == Operation::MULTIPLY ? second : Node(new Operation::Reciprocal(), second))});
    }
    const int b = row(second);
    if (id == Operation::SUBTRACT || id == Operation::DIVIDE)
        return add({id == Operation::SUBTRACT ? Plan::Subtract : Plan::Divide, a, b});
    return add({id == Operation::ADD ? Plan::Add : Plan::Multiply, min(a, b), max(a, b)});
}

/** A row to an integer power, by as few multiplications as the bits of the exponent allow. */
int WalkerBondPlanner::power(int base, int exponent) {
    if (exponent == 1)
        return base;
    const Node one(new Operation::Constant(1));
    if (exponent == 0)
        return add({Plan::Fill, 0, 0, 0, number(one)});
    if (exponent < 0)
        return add({Plan::DivideNumber, power(base, -exponent), 0, 0, number(one)});
    int square = base, top = 2;
    for (; top <= exponent/2; top *= 2)
        square = add({Plan::Multiply, square, square});
    square = add({Plan::Multiply, square, square});
    if (top == exponent)
        return square;
    const int rest = power(base, exponent-top);
    return add({Plan::Multiply, min(rest, square), max(rest, square)});
}

/** The row of a function's values. */
int WalkerBondPlanner::call(const Node& node) {
    static const map<int, int> own = {{Operation::SQRT, Plan::SquareRoot}, {Operation::ABS, Plan::Absolute},
        {Operation::STEP, Plan::Step}, {Operation::DELTA, Plan::Delta}, {Operation::MIN, Plan::Min}, {Operation::MAX, Plan::Max},
        {Operation::SELECT, Plan::Select}};
    static const map<int, OfOne> ofOne = {{Operation::EXP, exp}, {Operation::LOG, log}, {Operation::SIN, sin},
        {Operation::COS, cos}, {Operation::TAN, tan}, {Operation::SEC, cos}, {Operation::CSC, sin}, {Operation::COT, tan},
        {Operation::ASIN, asin}, {Operation::ACOS, acos}, {Operation::ATAN, atan}, {Operation::SINH, sinh},
        {Operation::COSH, cosh}, {Operation::TANH, tanh}, {Operation::ERF, erf}, {Operation::ERFC, erfc},
        {Operation::FLOOR, floor}, {Operation::CEIL, ceil}};
    static const map<int, OfTwo> ofTwo = {{Operation::POWER, pow}, {Operation::ATAN2, atan2}};
    const int id = node.getOperation().getId();
    int rows[3] = {0, 0, 0};
    for (size_t k = 0; k < node.getChildren().size() && k < 3; k++)
        rows[k] = row(node.getChildren()[k]);
    if (own.count(id))
        return add({own.at(id), rows[0], rows[1], rows[2]});
    if (ofTwo.count(id))
        return add({Plan::CallTwo, rows[0], rows[1], 0, 0, nullptr, ofTwo.at(id)});
    if (!ofOne.count(id))
        throw OpenMMException("the function "+node.getOperation().getName()+" is unknown");
    const int result = add({Plan::CallOne, rows[0], 0, 0, 0, ofOne.at(id)});
    const bool inverse = id == Operation::SEC || id == Operation::CSC || id == Operation::COT;
    return inverse ? power(result, -1) : result;
}
