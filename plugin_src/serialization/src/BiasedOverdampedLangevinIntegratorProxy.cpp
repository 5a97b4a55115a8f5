#include "BiasedOverdampedLangevinIntegratorProxy.h"
#include "BiasedOverdampedLangevinIntegrator.h"
#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationNode.h"
#include <memory>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

BiasedOverdampedLangevinIntegratorProxy::BiasedOverdampedLangevinIntegratorProxy() :
        SerializationProxy("BiasedOverdampedLangevinIntegrator") {
}

static void writeVariables(const vector<Variable>& variables, SerializationNode& node) {
    for (auto& variable : variables) {
        SerializationNode& child = node.createChildNode("Variable");
        child.setIntProperty("kind", variable.kind).setDoubleProperty("period", variable.period);
        for (int index : variable.indices)
            child.createChildNode("Index").setIntProperty("i", index);
        for (double value : variable.values)
            child.createChildNode("Value").setDoubleProperty("v", value);
    }
}

static Variable readVariable(const SerializationNode& node) {
    Variable variable;
    variable.kind = (Variable::Kind) node.getIntProperty("kind");
    variable.period = node.getDoubleProperty("period", 0.0);
    for (auto& child : node.getChildren())
        if (child.getName() == "Index")
            variable.indices.push_back(child.getIntProperty("i"));
        else
            variable.values.push_back(child.getDoubleProperty("v"));
    return variable;
}

static void writeRegion(const Region& region, SerializationNode& node) {
    for (auto& range : region.ranges)
        node.createChildNode("Range").setIntProperty("variable", range.variable).setDoubleProperty("lower", range.lower)
            .setDoubleProperty("upper", range.upper);
    for (auto& disc : region.discs) {
        SerializationNode& child = node.createChildNode("Disc").setDoubleProperty("radius", disc.radius);
        for (size_t i = 0; i < disc.variables.size(); i++)
            child.createChildNode("Center").setIntProperty("variable", disc.variables[i]).setDoubleProperty("value", disc.center[i]);
    }
}

static Region readRegion(const SerializationNode& node) {
    Region region;
    for (auto& child : node.getChildren())
        if (child.getName() == "Range")
            region.ranges.push_back({child.getIntProperty("variable"), child.getDoubleProperty("lower"), child.getDoubleProperty("upper")});
        else {
            Region::Disc disc;
            disc.radius = child.getDoubleProperty("radius");
            for (auto& center : child.getChildren()) {
                disc.variables.push_back(center.getIntProperty("variable"));
                disc.center.push_back(center.getDoubleProperty("value"));
            }
            region.discs.push_back(disc);
        }
    return region;
}

void BiasedOverdampedLangevinIntegratorProxy::serialize(const void* object, SerializationNode& node) const {
    auto& integrator = *static_cast<const BiasedOverdampedLangevinIntegrator*>(object);
    node.setIntProperty("version", 1);
    node.setDoubleProperty("temperature", integrator.getTemperature());
    node.setDoubleProperty("friction", integrator.getFriction());
    node.setDoubleProperty("stepSize", integrator.getStepSize());
    node.setIntProperty("numWalkers", integrator.getNumWalkers());
    node.setIntProperty("numDimensions", integrator.getNumDimensions());
    node.setIntProperty("randomSeed", integrator.getRandomNumberSeed());
    node.setIntProperty("integrationForceGroups", integrator.getIntegrationForceGroups());
    node.setIntProperty("biasForceGroups", integrator.getBiasForceGroups());
    node.setIntProperty("biasInterval", integrator.getBiasInterval());
    node.setIntProperty("checkInterval", integrator.getCheckInterval());
    node.setDoubleProperty("biasStrength", integrator.getBiasStrength());
    node.setDoubleProperty("maxShift", integrator.getMaxShift());
    node.setDoubleProperty("constraintTolerance", integrator.getConstraintTolerance());
    writeVariables(integrator.getVariables(), node.createChildNode("Variables"));
    // a new child moves its siblings in memory, so each is filled before the next
    SerializationNode& regions = node.createChildNode("AbsorbingRegions");
    for (auto& region : integrator.getAbsorbingRegions())
        writeRegion(region, regions.createChildNode("Region"));
    SerializationNode& rules = node.createChildNode("LabelRules");
    for (auto& rule : integrator.getLabelRules())
        writeRegion(rule.region, rules.createChildNode("Region").setIntProperty("from", rule.from).setIntProperty("to", rule.to));
}

void* BiasedOverdampedLangevinIntegratorProxy::deserialize(const SerializationNode& node) const {
    if (node.getIntProperty("version") != 1)
        throw OpenMMException("Unsupported version number");
    auto integrator = make_unique<BiasedOverdampedLangevinIntegrator>(node.getDoubleProperty("temperature"), node.getDoubleProperty("friction"),
            node.getDoubleProperty("stepSize"), node.getIntProperty("numWalkers", 1));
    integrator->setNumDimensions(node.getIntProperty("numDimensions", 3));
    integrator->setRandomNumberSeed(node.getIntProperty("randomSeed", 0));
    integrator->setIntegrationForceGroups(node.getIntProperty("integrationForceGroups", -1));
    integrator->setBiasForceGroups(node.getIntProperty("biasForceGroups", 0));
    integrator->setBiasInterval(node.getIntProperty("biasInterval", 1));
    integrator->setCheckInterval(node.getIntProperty("checkInterval", 1));
    integrator->setBiasStrength(node.getDoubleProperty("biasStrength", 1.0));
    integrator->setMaxShift(node.getDoubleProperty("maxShift", 0.5));
    integrator->setConstraintTolerance(node.getDoubleProperty("constraintTolerance", 1e-5));
    for (auto& child : node.getChildren())
        for (auto& grandchild : child.getChildren())
            if (child.getName() == "Variables")
                integrator->addVariable(readVariable(grandchild));
            else if (child.getName() == "AbsorbingRegions")
                integrator->addAbsorbingRegion(readRegion(grandchild));
            else
                integrator->addLabelRule({readRegion(grandchild), grandchild.getIntProperty("from"), grandchild.getIntProperty("to")});
    return integrator.release();
}
