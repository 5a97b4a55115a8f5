#include "RegionTables.h"
#include <algorithm>
#include <cfloat>

using namespace OpenMMRare;
using namespace std;

RegionTables::RegionTables(const BiasedOverdampedLangevinIntegrator& integrator, int numParticles) : hasMoments(false), allNearestImages(true) {
    vector<Region> all = integrator.getAbsorbingRegions();
    numVariables = integrator.getVariables().size();
    numAbsorbing = all.size();
    numRules = integrator.getLabelRules().size();
    for (auto& rule : integrator.getLabelRules()) {
        all.push_back(rule.region);
        rules.insert(rules.end(), {rule.from, rule.to});
    }
    RegionTest check(integrator.getVariables(), all, numParticles); // throws where something does not fit
    for (auto& variable : integrator.getVariables())
        addVariable(variable);
    regions.resize(all.size());
    for (size_t k = 0; k < all.size(); k++) {
        regions[k] = regions.size();
        addRegion(all[k]);
    }
    for (auto* table : {&variables, &regions, &rules})
        if (table->empty())
            table->push_back(0);
    if (numbers.empty())
        addNumber(0.0);
}

int RegionTables::addNumber(double value) {
    numbers.push_back(min(max(value, (double) -FLT_MAX), (double) FLT_MAX)); // kernels need not know infinity
    return numbers.size()-1;
}

void RegionTables::addVariable(const Variable& variable) {
    vector<int> row = variable.indices;
    row.resize(4);
    row.insert(row.begin(), variable.kind);
    row.push_back(addNumber(variable.period));
    for (double value : variable.values)
        addNumber(value);
    allNearestImages &= variable.box() != nullptr;
    if (variable.boxPlace() >= 0 && variable.box() == nullptr)
        for (int i = 0; i < Variable::BoxLength; i++)
            addNumber(0.0);
    variables.insert(variables.end(), row.begin(), row.end());
    hasMoments |= variable.kind == Variable::CoordinationMoment;
}

void RegionTables::addRegion(const Region& region) {
    regions.insert(regions.end(), {(int) region.ranges.size(), (int) region.discs.size()});
    for (auto& range : region.ranges) {
        regions.insert(regions.end(), {range.variable, addNumber(range.lower)});
        addNumber(range.upper);
    }
    for (auto& disc : region.discs) {
        regions.insert(regions.end(), {(int) disc.variables.size(), addNumber(disc.radius*disc.radius)});
        for (double value : disc.center)
            addNumber(value);
        regions.insert(regions.end(), disc.variables.begin(), disc.variables.end());
    }
}
