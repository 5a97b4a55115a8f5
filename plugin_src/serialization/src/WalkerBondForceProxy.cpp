#include "WalkerBondForceProxy.h"
#include "WalkerBondForce.h"
#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationNode.h"
#include <memory>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

WalkerBondForceProxy::WalkerBondForceProxy() : SerializationProxy("WalkerBondForce") {
}

void WalkerBondForceProxy::serialize(const void* object, SerializationNode& node) const {
    auto& force = *static_cast<const WalkerBondForce*>(object);
    node.setIntProperty("version", 1);
    node.setIntProperty("forceGroup", force.getForceGroup());
    node.setStringProperty("name", force.getName());
    node.setIntProperty("numWalkers", force.getNumWalkers());
    node.createChildNode("Force", &force.getBonds());
}

void* WalkerBondForceProxy::deserialize(const SerializationNode& node) const {
    if (node.getIntProperty("version") != 1)
        throw OpenMMException("Unsupported version number");
    const unique_ptr<Force> bonds(node.getChildNode("Force").decodeObject<Force>());
    auto* custom = dynamic_cast<CustomBondForce*>(bonds.get());
    if (custom == nullptr)
        throw OpenMMException("WalkerBondForce: the bonds must be a CustomBondForce, not a "+bonds->getName());
    auto force = make_unique<WalkerBondForce>(*custom, node.getIntProperty("numWalkers"));
    force->setForceGroup(node.getIntProperty("forceGroup", custom->getForceGroup()));
    force->setName(node.getStringProperty("name", custom->getName()));
    return force.release();
}
