"""The service on the Pi: from the button to delivered photographs, through a durable queue."""
