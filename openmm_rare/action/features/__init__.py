"""What an action sees: functions of coordinates and momenta, with gradients in closed form."""
