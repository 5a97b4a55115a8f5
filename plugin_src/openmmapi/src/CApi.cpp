// A C interface, so that Python reaches the plugin through ctypes: nothing here depends on the version of Python, on NumPy or
// on SWIG.  Objects are made by OpenMM's XmlSerializer, from the proxies registered here.
#include "CApi.h"
#include "BiasedOverdampedLangevinIntegrator.h"
#include "BiasedOverdampedLangevinIntegratorProxy.h"
#include "CommittorForce.h"
#include "CommittorForceProxy.h"
#include "WalkerBondForce.h"
#include "WalkerBondForceProxy.h"

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

thread_local string OpenMMRare::rareLastError;

static BiasedOverdampedLangevinIntegrator& integrator(void* pointer) {
    auto* result = dynamic_cast<BiasedOverdampedLangevinIntegrator*>(static_cast<Integrator*>(pointer));
    if (result == nullptr)
        throw OpenMMException("this is no BiasedOverdampedLangevinIntegrator");
    return *result;
}

RARE_API int rare_register_proxies() {
    return rareGuard([] {
        SerializationProxy::registerProxy(typeid(BiasedOverdampedLangevinIntegrator), new BiasedOverdampedLangevinIntegratorProxy());
        SerializationProxy::registerProxy(typeid(CommittorForce), new CommittorForceProxy());
        SerializationProxy::registerProxy(typeid(WalkerBondForce), new WalkerBondForceProxy());
    });
}

RARE_API const char* rare_error() {
    return rareLastError.c_str();
}

RARE_API const char* rare_built_for() {
    return RARE_OPENMM_VERSION;
}

/** Copy one number for each walker out of an integrator. */
template <class T> static int get(void* pointer, void (BiasedOverdampedLangevinIntegrator::*method)(vector<T>&) const, T* out, int length) {
    return rareGuard([=] {
        vector<T> values;
        (integrator(pointer).*method)(values);
        rareCopy(values, out, length);
    });
}

/** Hand an array to an integrator. */
template <class T> static int set(void* pointer, void (BiasedOverdampedLangevinIntegrator::*method)(const vector<T>&), const T* values,
        int length) {
    return rareGuard([=] { (integrator(pointer).*method)(vector<T>(values, values+length)); });
}

RARE_API int rare_integrator_get_log_weights(void* pointer, double* out, int length) {
    return get(pointer, &BiasedOverdampedLangevinIntegrator::getLogWeights, out, length);
}

RARE_API int rare_integrator_set_log_weights(void* pointer, const double* values, int length) {
    return set(pointer, &BiasedOverdampedLangevinIntegrator::setLogWeights, values, length);
}

RARE_API int rare_integrator_get_states(void* pointer, int* out, int length) {
    return get(pointer, &BiasedOverdampedLangevinIntegrator::getWalkerStates, out, length);
}

RARE_API int rare_integrator_set_states(void* pointer, const int* values, int length) {
    return set(pointer, &BiasedOverdampedLangevinIntegrator::setWalkerStates, values, length);
}

RARE_API int rare_integrator_get_labels(void* pointer, int* out, int length) {
    return get(pointer, &BiasedOverdampedLangevinIntegrator::getWalkerLabels, out, length);
}

RARE_API int rare_integrator_set_labels(void* pointer, const int* values, int length) {
    return set(pointer, &BiasedOverdampedLangevinIntegrator::setWalkerLabels, values, length);
}

RARE_API int rare_integrator_get_steps(void* pointer, int* out, int length) {
    return get(pointer, &BiasedOverdampedLangevinIntegrator::getWalkerSteps, out, length);
}

RARE_API int rare_integrator_hold(void* pointer, const int* walkers, int length) {
    return set(pointer, &BiasedOverdampedLangevinIntegrator::holdWalkers, walkers, length);
}

RARE_API int rare_integrator_resample(void* pointer, const int* parents, int length) {
    return set(pointer, &BiasedOverdampedLangevinIntegrator::resampleWalkers, parents, length);
}

RARE_API int rare_integrator_watch(void* pointer, const int* regions, int length) {
    return set(pointer, &BiasedOverdampedLangevinIntegrator::watchWalkers, regions, length);
}

/**
 * Hand over the changes since the last call: for each its walker, step, regions before and after, and label, five numbers;
 * then the positions.  The callback receives both and copies what it wants.
 */
RARE_API int rare_integrator_take_changes(void* pointer, void (*receive)(const int* changes, const double* positions, int number)) {
    return rareGuard([=] {
        vector<BiasedOverdampedLangevinIntegrator::Change> changes;
        vector<double> positions;
        integrator(pointer).takeChanges(changes, positions);
        static_assert(sizeof(changes[0]) == 5*sizeof(int), "Python reads rows of five numbers");
        receive(reinterpret_cast<const int*>(changes.data()), positions.data(), changes.size());
    });
}
